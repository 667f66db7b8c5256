import java.io.DataInputStream;
import java.io.EOFException;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/**
 * Runs programs that {@link PureClasses} has found to do nothing but compute, one after the other, each in a class
 * loader and a thread of its own.
 *
 * <p>A request is two frames as {@link CompileServer} has them: the class with {@code main}, and the class files as in
 * that server's answer. The answer is one frame: byte 0 where {@code main} has returned; byte 1 and what {@code java}
 * would have printed where it ended with an ordinary exception; byte 2 and a reason where only a virtual machine of the
 * program's own can tell; after byte 3 this one must not be used again. An empty request is answered by byte 2.
 *
 * <p>The two runs of one program (with the right tests, and with one expected value changed) are given to two processes
 * of this kind, so that they can tell each other nothing, whatever a program does; {@link PureClasses} keeps programs from
 * leaving word for later ones. Identity hash codes are the same for all objects: they would tell what was made before.
 *
 * <p>Not guaranteed: an end. Whoever asks must limit the time and end this process, which ends by itself when it is out
 * of memory.
 */
public final class JavaRunner {
    /** Below the thread's usual size: what fits here also fits there. */
    private static final long STACK = 896 << 10;
    private static final int LONGEST = 16_000;

    /** What ended {@code main}, or kept it from starting; null where it returned. */
    private Throwable ending;

    private JavaRunner() {}

    public static void main(String[] arguments) throws IOException {
        if (System.identityHashCode(new Object()) != System.identityHashCode(new Object())) {
            throw new IllegalStateException("identity hash codes are not constant");
        }
        DataInputStream requests = new DataInputStream(new FileInputStream(FileDescriptor.in));
        OutputStream answers = new FileOutputStream(FileDescriptor.out);
        System.setOut(System.err);
        while (true) {
            byte[] main = CompileServer.readFrame(requests);
            if (main == null) {
                return;
            }
            byte[] classes = CompileServer.readFrame(requests);
            if (classes == null) {
                throw new EOFException();
            }
            answers.write(CompileServer.frame(answer(new String(main, StandardCharsets.UTF_8), classes)));
            answers.flush();
        }
    }

    private static byte[] answer(String main, byte[] packed) throws IOException {
        if (packed.length == 0) {
            return CompileServer.unclear("empty");
        }
        JavaRunner run = new JavaRunner();
        Classes classes = new Classes(unpack(packed));
        Thread thread = new Thread(null, () -> run.execute(classes, main), "main", STACK, false);
        thread.setContextClassLoader(null);
        thread.start();
        try {
            thread.join();
        } catch (InterruptedException impossible) {
            throw new IllegalStateException(impossible);
        }
        return run.described(main);
    }

    private void execute(Classes classes, String name) {
        try {
            Method main = Class.forName(name, true, classes).getMethod("main", String[].class);
            if (!Modifier.isStatic(main.getModifiers()) || main.getReturnType() != void.class) {
                throw new NoSuchMethodException();
            }
            main.setAccessible(true);
            main.invoke(null, (Object) new String[0]);
        } catch (InvocationTargetException problem) {
            ending = problem.getCause();
        } catch (Throwable problem) {
            ending = problem;
        }
    }

    private byte[] described(String main) throws IOException {
        Throwable problem = ending;
        if (problem == null) {
            return new byte[] {0};
        }
        if (problem instanceof Error && problem.getClass() != AssertionError.class) {
            // Out of stack, for one, while the platform made something: it may be left half made.
            return CompileServer.text(3, problem.getClass().getName());
        }
        for (Throwable each = problem; each != null; each = each.getCause()) {
            // A program's own exception could run its code here; a wrong cast names what only this machine has.
            boolean platforms = each.getClass().getClassLoader() == null;
            if (!platforms || each instanceof ClassCastException || !cut(each, main)) {
                return CompileServer.unclear("an exception of another kind");
            }
        }
        StringWriter text = new StringWriter();
        problem.printStackTrace(new PrintWriter(text));
        if (text.getBuffer().length() > LONGEST) {
            return CompileServer.unclear("a long message");
        }
        return CompileServer.text(1, "Exception in thread \"main\" " + text);
    }

    /** Takes away the frames below the program's {@code main}; false where there is no such frame. */
    private static boolean cut(Throwable problem, String main) {
        StackTraceElement[] frames = problem.getStackTrace();
        for (int i = frames.length; i > 0; i--) {
            if (frames[i - 1].getClassName().equals(main) && frames[i - 1].getMethodName().equals("main")) {
                problem.setStackTrace(Arrays.copyOf(frames, i));
                return true;
            }
        }
        return false;
    }

    private static Map<String, byte[]> unpack(byte[] packed) {
        Map<String, byte[]> files = new HashMap<>();
        ByteBuffer buffer = ByteBuffer.wrap(packed).order(ByteOrder.LITTLE_ENDIAN);
        while (buffer.hasRemaining()) {
            String file = new String(next(buffer), StandardCharsets.UTF_8);
            files.put(file.substring(0, file.length() - ".class".length()), next(buffer));
        }
        return files;
    }

    private static byte[] next(ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.getInt()];
        buffer.get(bytes);
        return bytes;
    }

    /** One run's classes. Its parent has the platform and the library, and nothing of this program's names. */
    private static final class Classes extends ClassLoader {
        private final Map<String, byte[]> files;

        Classes(Map<String, byte[]> files) {
            super(null);
            this.files = files;
            setDefaultAssertionStatus(true);
        }

        @Override
        protected Class<?> findClass(String name) throws ClassNotFoundException {
            byte[] bytes = files.get(name);
            if (bytes != null) {
                return defineClass(name, bytes, 0, bytes.length);
            }
            if (name.startsWith("org.javatuples.")) {
                return JavaRunner.class.getClassLoader().loadClass(name);
            }
            throw new ClassNotFoundException(name);
        }
    }
}
