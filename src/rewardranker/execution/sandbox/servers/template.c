/*
 * A Java virtual machine that is started once and copied for each program.
 *
 * A process with threads can't be forked as it is: the copy has only the thread that forked. So all threads but the
 * caller's are first stopped in a signal handler, where each keeps its registers on its stack (`freeze`). They never go
 * on in this process. A copy of the process has their stacks and thread-local storage in its memory; it starts new
 * threads on them, which return from the handler and go on where the stopped ones were (`resume`).
 *
 * The process must be forked by `copy`, not by the C library's `fork`, which gives the stacks of other threads away.
 *
 * Not guaranteed: that any program can be copied so. It holds for this one because its threads are stopped while all of
 * them wait, and because none knows its own thread id but the C library, whose record is corrected.
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <jni.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MOST_THREADS = 64, MOST_OPTIONS = 64, SCRATCH = 8192, RECORD = 4096, STACK = 1 << 20, CLASS_MODE = 1, TRAINING_RUNS = 10 };

#define STOP (SIGRTMAX - 3)
#define SHARED                                                                                                         \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |                  \
     CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

struct stopped {
    jmp_buf registers;
    char *record; /* the C library's, where the thread's local storage is */
    volatile int ready;
};

static struct stopped threads[MOST_THREADS];
static char scratch[MOST_THREADS][SCRATCH] __attribute__((aligned(16)));
static volatile int count, never, booted, go;
static int id_offset = -1;

static JavaVMOption options[MOST_OPTIONS];
static int option_count;
static const char *library, *training;
static char main_class[4096];
static JavaVM *machine;

static void await(volatile int *word) {
    while (!*word) syscall(SYS_futex, word, FUTEX_WAIT, 0, NULL, NULL, 0);
}

static void stop(int number) {
    (void)number;
    int error = errno;
    struct stopped *self = &threads[__sync_fetch_and_add(&count, 1)];
    self->record = (char *)pthread_self();
    if (setjmp(self->registers) == 0) {
        self->ready = 1;
        await(&never);
    }
    errno = error;
}

static int go_on(void *thread) { longjmp(((struct stopped *)thread)->registers, 1); }

static void correct_own_id(void) { *(int *)((char *)pthread_self() + id_offset) = (int)syscall(SYS_gettid); }

static jobjectArray no_arguments(JNIEnv *env) {
    return (*env)->NewObjectArray(env, 0, (*env)->FindClass(env, "java/lang/String"), NULL);
}

static void call_main(JNIEnv *env, jclass class) {
    jmethodID method = class ? (*env)->GetStaticMethodID(env, class, "main", "([Ljava/lang/String;)V") : NULL;
    jobjectArray arguments = method ? no_arguments(env) : NULL;
    if (arguments) (*env)->CallStaticVoidMethod(env, class, method, arguments);
}

/* As the `java` command does: the class is checked, and told off, by the same code. */
static jclass load_main(JNIEnv *env) {
    jclass helper = (*env)->FindClass(env, "sun/launcher/LauncherHelper");
    const char *type = "(ZILjava/lang/String;)Ljava/lang/Class;";
    jmethodID check = helper ? (*env)->GetStaticMethodID(env, helper, "checkAndLoadMain", type) : NULL;
    if (!check) return NULL;
    jstring name = (*env)->NewStringUTF(env, main_class);
    return (jclass)(*env)->CallStaticObjectMethod(env, helper, check, JNI_TRUE, CLASS_MODE, name);
}

static void *run(void *unused) {
    (void)unused;
    JNIEnv *env;
    JavaVMInitArgs arguments = {JNI_VERSION_1_8, option_count, options, JNI_FALSE};
    void *loaded = dlopen(library, RTLD_NOW | RTLD_GLOBAL);
    jint (*create)(JavaVM **, void **, void *) = loaded ? dlsym(loaded, "JNI_CreateJavaVM") : NULL;
    if (!create || create(&machine, (void **)&env, &arguments) != JNI_OK) {
        booted = -1;
        return NULL;
    }
    strncpy(main_class, training, sizeof main_class - 1);
    jclass trained = load_main(env);
    for (int i = 0; trained && i < TRAINING_RUNS && !(*env)->ExceptionCheck(env); i++) call_main(env, trained);
    booted = trained && !(*env)->ExceptionCheck(env) ? 1 : -1;
    (*env)->ExceptionClear(env);
    await(&go);
    call_main(env, load_main(env));
    int status = (*env)->ExceptionCheck(env) ? 1 : 0;
    (*machine)->DetachCurrentThread(machine); /* prints what was not caught */
    (*machine)->DestroyJavaVM(machine);       /* waits for the program's threads */
    exit(status);
}

static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Start the machine and run the training class. 0, or -1 where it does not start or the training fails. */
int start(const char *machine_library, int number, const char **words, const char *training_class) {
    int id = (int)syscall(SYS_gettid);
    for (int offset = 0; offset < RECORD && id_offset < 0; offset += (int)sizeof(int))
        if (*(int *)((char *)pthread_self() + offset) == id) id_offset = offset;
    if (id_offset < 0 || number > MOST_OPTIONS) return -1;
    for (int i = 0; i < number; i++) options[i].optionString = strdup(words[i]);
    option_count = number;
    library = strdup(machine_library);
    training = strdup(training_class);
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    if (pthread_create(&thread, &attributes, run, NULL) != 0) return -1;
    while (!booted) usleep(1000);
    return booted == 1 ? 0 : -1;
}

/* Stop all other threads for good, once they have nothing to do. How many, or -1. */
int freeze(void) {
    double used;
    do {
        used = seconds(CLOCK_PROCESS_CPUTIME_ID);
        usleep(100000);
    } while (seconds(CLOCK_PROCESS_CPUTIME_ID) - used > 0.001);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = stop;
    sigfillset(&action.sa_mask);
    sigaction(STOP, &action, NULL);
    int own = (int)syscall(SYS_gettid), told = 0;
    DIR *folder = opendir("/proc/self/task");
    if (!folder) return -1;
    for (struct dirent *entry; (entry = readdir(folder));) {
        int id = atoi(entry->d_name);
        if (id <= 0 || id == own) continue;
        if (told == MOST_THREADS || syscall(SYS_tgkill, getpid(), id, STOP) != 0) return -1;
        told++;
    }
    closedir(folder);
    for (int i = 0; i < told; i++)
        while (!threads[i].ready) usleep(200);
    return told;
}

/* Fork: the process id, 0 in the copy, -1. */
int copy(void) {
    int pid = (int)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) correct_own_id();
    return pid;
}

/* In a copy: let all threads go on and the first of them run a class; the process ends when the program does. */
void resume(const char *class) {
    strncpy(main_class, class, sizeof main_class - 1);
    for (int i = 0; i < count; i++) {
        struct stopped *thread = &threads[i];
        int *id = (int *)(thread->record + id_offset);
        if (clone(go_on, scratch[i] + SCRATCH, SHARED, thread, id, thread->record, id) < 0) _exit(125);
    }
    go = 1;
    syscall(SYS_futex, &go, FUTEX_WAKE, MOST_THREADS, NULL, NULL, 0);
    for (;;) pause();
}
