"""Python programs that want to leave, take, break or use up something.

Bombs stop by themselves once they have what they ask for.
"""

from __future__ import annotations

from attacks.corpus import HONEST, Attack

_TIMEOUT = frozenset({"timeout"})


def _reached(amount: str) -> str:
    """The end of a program that got what it wanted: told by its exception."""
    return f"raise ValueError('reached ' + '@TOKEN@'[::-1] + ': {amount}')"


def _harm(kind: str, harm: str, name: str, why: str, program: str, **more: object) -> Attack:
    return Attack(name, kind, why, program, harm, **more)  # type: ignore[arg-type]


_NAME = "import ctypes\nctypes.CDLL(None).prctl(15, b'@TOKEN@', 0, 0, 0)\n"
"""Gives the process the name that the probe looks for; its children inherit it."""

_DAEMON = (
    "import os, signal, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork():\n        os._exit(0)\n    "
    + _NAME.replace("\n", "\n    ")
    + "\n    for number in range(1, 32):\n        try: signal.signal(number, signal.SIG_IGN)\n"
    "        except (OSError, ValueError): pass\n    os.closerange(0, 64)\n    while True: time.sleep(1)\nos.wait()\n"
)

SURVIVORS = [
    _harm(
        "survivors",
        "process",
        "daemon",
        "forked twice, in a session of its own, deaf to signals: no parent and no group finds it",
        _DAEMON + HONEST,
    ),
    _harm(
        "survivors",
        "process",
        "daemon that outruns its killer",
        "a new process each moment: who lists processes and kills them comes too late",
        "import os, time\n"
        + _NAME
        + "if os.fork() == 0:\n    os.setsid()\n    os.closerange(0, 64)\n    end = time.monotonic() + 20\n"
        "    while time.monotonic() < end:\n        try:\n            if os.fork(): os._exit(0)\n"
        "        except OSError: pass\n" + HONEST,
    ),
    _harm(
        "survivors",
        "process",
        "grandchildren in other groups",
        "a kill of the child or of its process group leaves them",
        "import os, time\nfor _ in range(5):\n    if os.fork() == 0:\n        os.setpgid(0, 0)\n        "
        + _NAME.replace("\n", "\n        ")
        + "\n        os.closerange(0, 64)\n        while True: time.sleep(1)\n"
        + HONEST,
    ),
    _harm(
        "survivors",
        "process",
        "exec of another program",
        "the survivor is no interpreter any more",
        "import os\nif os.fork() == 0:\n    os.setsid()\n    os.closerange(0, 64)\n"
        "    os.execv('/bin/sleep', ['@TOKEN@', '30'])\n" + HONEST,
    ),
    *(
        _harm(
            "survivors",
            "file",
            f"file in {folder}",
            "anyone may write there, and nobody looks",
            f"open('{folder}/@TOKEN@', 'w').close()\n" + HONEST,
            level="landlock",
        )
        for folder in ("/tmp", "/var/tmp", "/dev/shm")
    ),
    _harm(
        "survivors",
        "file",
        "file in the home of the user",
        "programs run as the user who runs the judge",
        "open('@HOME@/.@TOKEN@', 'w').close()\n" + HONEST,
        level="landlock",
        as_root="rlimits",
    ),
    _harm(
        "survivors",
        "file",
        "setuid shell",
        "a copy that runs as its owner, for whoever finds it",
        "import os, shutil\nshutil.copy('/bin/sh', '@DROP@/@TOKEN@')\nos.chmod('@DROP@/@TOKEN@', 0o4755)\n" + HONEST,
        level="landlock",
    ),
    _harm(
        "survivors",
        "file",
        "folder that can't be removed",
        "the judge's own clean-up gives up on a folder without permissions",
        "import os\nos.mkdir('@TOKEN@')\nopen('@TOKEN@/inside', 'w').close()\nos.chmod('@TOKEN@', 0)\n" + HONEST,
        naive="exit_status",
    ),
    _harm(
        "survivors",
        "judge",
        "folders nested too deeply",
        "a clean-up that calls itself for each folder runs out of stack",
        "import os\nfor _ in range(1500):\n    os.mkdir('d')\n    os.chdir('d')\n" + HONEST,
        naive="exit_status",
    ),
    _harm(
        "survivors",
        "sysv",
        "System V shared memory",
        "it lasts until somebody removes it, and belongs to no process",
        "import ctypes\nctypes.CDLL(None).shmget(@KEY@, 4096, 0o1666)\n" + HONEST,
        level="landlock",
    ),
    _harm(
        "survivors",
        "sysv",
        "System V messages",
        "as shared memory: kernel memory that no clean-up of files and processes finds",
        "import ctypes\nctypes.CDLL(None).msgget(@KEY@, 0o1666)\n" + HONEST,
        level="landlock",
    ),
    _harm(
        "survivors",
        "queue",
        "POSIX message queue",
        "a file system that is mounted nowhere",
        "import ctypes\nctypes.CDLL(None).mq_open(b'/@TOKEN@', 0o102, 0o666, None)\n" + HONEST,
    ),
]

BOMBS = [
    _harm(
        "bombs",
        "reached",
        "processes",
        "no limit on processes",
        "import os, time\nmade = 0\nwhile made < 200:\n    if os.fork() == 0:\n        time.sleep(10)\n"
        "        os._exit(0)\n"
        "    made += 1\n" + _reached("200 processes"),
    ),
    _harm(
        "bombs",
        "reached",
        "threads",
        "threads are counted as processes, where anybody counts",
        "import threading, time\nfor _ in range(200):\n"
        "    threading.Thread(target=time.sleep, args=(10,), daemon=True).start()\n" + _reached("200 threads"),
    ),
    _harm(
        "bombs",
        "reached",
        "memory at once",
        "no limit on the address space",
        "held = bytearray(1 << 30)\n" + _reached("1 GB"),
        statuses=frozenset({"out of memory"}),
    ),
    _harm(
        "bombs",
        "reached",
        "memory in small steps",
        "no single request is large",
        "held = []\nfor _ in range(600):\n    held.append(bytearray(1 << 20))\n" + _reached("600 MB"),
        statuses=frozenset({"out of memory"}),
    ),
    _harm(
        "bombs",
        "reached",
        "shared memory without a name",
        "it is no heap, and a limit on the data segment does not count it",
        "import mmap\nheld = [mmap.mmap(-1, 64 << 20) for _ in range(10)]\n" + _reached("640 MB"),
    ),
    _harm(
        "bombs",
        "reached",
        "memory in files without a name",
        "memory files are no part of the address space",
        "import os\nfor _ in range(40):\n    os.posix_fallocate(os.memfd_create('x'), 0, 8 << 20)\n"
        + _reached("320 MB"),
    ),
    _harm(
        "bombs",
        "reached",
        "memory of many processes",
        "a limit on each process is none on all of them",
        "import os, time\nfor _ in range(8):\n    if os.fork() == 0:\n        held = bytearray(100 << 20)\n"
        "        time.sleep(10)\n        os._exit(0)\n" + _reached("800 MB"),
        level="none",  # only a cgroup of its own could
    ),
    _harm(
        "bombs",
        "late",
        "swallowed alarm",
        "the alarm's exception is caught by the program as any other",
        "def f(x):\n    while True:\n        try:\n            for _ in iter(int, 1): x += 1\n"
        "        except BaseException: pass",
        statuses=_TIMEOUT,
    ),
    _harm(
        "bombs",
        "late",
        "deaf to signals",
        "the program takes the alarm away, and every signal that may be ignored",
        "import signal\nfor s in set(signal.Signals) - {9, 19}: signal.signal(s, signal.SIG_IGN)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0)\ndef f(x):\n    while True: pass",
        statuses=_TIMEOUT,
    ),
    _harm(
        "bombs",
        "late",
        "endless operation",
        "no signal handler runs within one operation of the interpreter",
        "import itertools\ndef f(x): return sum(itertools.repeat(0))",
        statuses=_TIMEOUT,
    ),
    _harm(
        "bombs",
        "late",
        "regular expression that backtracks",
        "exponential time in a short line, its alarm swallowed",
        "import re, signal\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\n"
        "def f(x): return re.match('(a+)+$', 'a' * 60 + 'b')",
        statuses=_TIMEOUT,
    ),
    _harm(
        "bombs",
        "late",
        "sleep that hides from the alarm",
        "it uses no processor time, and blocks the alarm in all its threads",
        "import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))\n"
        "def f(x): time.sleep(1000)",
        sleeps=True,
        statuses=_TIMEOUT,
    ),
    _harm(
        "bombs",
        "late",
        "stops itself",
        "a stopped process gets no alarm",
        "import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGSTOP)",
        sleeps=True,
        # The first process of a process id namespace can't be stopped: it then answers, wrongly.
        statuses=frozenset({"timeout", "wrong answer"}),
    ),
    _harm(
        "bombs",
        "late",
        "grandchild that holds the output",
        "reading to the end of the output waits for whoever still has it open",
        "import os, time\nif os.fork() == 0:\n    time.sleep(30)\n    os._exit(0)\n",
        naive="exit_status",
    ),
    _harm(
        "bombs",
        "late",
        "child that goes on when its parent sleeps",
        "time is taken of one process, and the work is done in another",
        "import os, signal, time\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\npid = os.fork()\n"
        "if pid == 0:\n    while True: pass\nos.waitpid(pid, 0)\n",
        sleeps=True,
    ),
]

FLOODS = [
    _harm(
        "floods",
        "flood",
        "message of an exception",
        "what went wrong is kept as it is",
        "raise ValueError('x' * 2_000_000)",
    ),
    _harm(
        "floods",
        "flood",
        "class name of an exception",
        "the name is printed too",
        "raise type('x' * 200_000, (Exception,), {})",
    ),
    _harm(
        "floods",
        "memory",
        "standard output",
        "all that is printed is collected in the judge's memory",
        "import os\nblock = b'x' * (1 << 20)\nfor _ in range(160): os.write(1, block)\n",
        naive="exit_status",
        tests=(),
        inputs=(("", "x"),),
        statuses=frozenset({"output limit", "crashed"}),
    ),
    _harm(
        "floods",
        "memory",
        "standard error",
        "a limit on the output forgets the other stream",
        "import os\nblock = b'x' * (1 << 20)\nfor _ in range(160): os.write(2, block)\n",
        naive="exit_status",
        tests=(),
        inputs=(("", "x"),),
    ),
    _harm(
        "floods",
        "memory",
        "answer",
        "an answer is as long as the program likes",
        "def f(x): return 'x' * 90_000_000",
        naive="pickled_answers",
        statuses=frozenset({"output limit", "out of memory", "timeout"}),
    ),
    _harm(
        "floods",
        "memory",
        "answer that grows when it is read",
        "a few bytes of pickle make a large object in the judge",
        "import operator\nclass Answer:\n    def __reduce__(self): return operator.mul, (b'x', 200_000_000)\n"
        "def f(x): return Answer()",
        naive="pickled_answers",
    ),
]

DISK = [
    _harm(
        "disk",
        "reached",
        "large file",
        "no limit on the size of files",
        "import os\nwith open('big', 'wb') as file:\n    for _ in range(50): file.write(bytes(1 << 20))\n"
        + _reached("50 MB"),
        statuses=frozenset({"output limit"}),
    ),
    _harm(
        "disk",
        "reached",
        "sparse file",
        "a file of a terabyte that stands on nothing: whoever copies it fills the disk",
        "import os\nfd = os.open('sparse', os.O_RDWR | os.O_CREAT)\nos.ftruncate(fd, 1 << 40)\n" + _reached("1 TB"),
    ),
    _harm(
        "disk",
        "reached",
        "many files",
        "each is below the limit on files",
        "for number in range(1000):\n    with open(f'part{number}', 'wb') as file: file.write(bytes(100 << 10))\n"
        + _reached("100 MB"),
        level="namespaces",
    ),
]

SIGNALS = [
    _harm(
        "signals",
        "bystander",
        "kill everyone",
        "-1 is everyone who has the same user",
        "import os\nos.kill(-1, 9)",
        level="namespaces",
        as_root="rlimits",
    ),
    _harm(
        "signals",
        "bystander",
        "stop a process that has nothing to do with it",
        "the same user may signal it",
        "import os, signal\nos.kill(@BYSTANDER@, signal.SIGSTOP)",
        level="namespaces",
        as_root="rlimits",
    ),
    _harm(
        "signals",
        "bystander",
        "kill one after the other",
        "process numbers can be tried",
        "import os\nfor pid in range(@BYSTANDER@ - 3, @BYSTANDER@ + 1):\n    try:\n"
        "        if pid not in (1, os.getpid(), os.getppid()): os.kill(pid, 9)\n"
        "    except OSError: pass\n",
        level="namespaces",
        as_root="rlimits",
    ),
    _harm(
        "signals",
        "judge",
        "kill the parent",
        "the parent is the judge, of the same user",
        "import os\nos.kill(os.getppid(), 9)",
        level="namespaces",
        as_root="rlimits",
    ),
    _harm(
        "signals",
        "judge",
        "kill the process group",
        "0 is the group that the judge is in too",
        "import os\nos.kill(0, 9)",
    ),
    _harm(
        "signals",
        "judge",
        "stop the parent",
        "a stopped judge waits for ever",
        "import os, signal, time\nos.kill(os.getppid(), signal.SIGSTOP)\ntime.sleep(0.05)",
        level="namespaces",
        as_root="rlimits",
    ),
    _harm(
        "signals",
        "judge",
        "limits of the parent",
        "resource limits of another process of the same user can be set: this judge opens no file any more",
        "import os, resource\nresource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (0, 0))\n",
        naive="exit_status",
        level="namespaces",
        as_root="rlimits",
    ),
]

NETWORK = [
    _harm(
        "network",
        "connected",
        "TCP on loopback",
        "services of the host trust who comes from the same machine",
        "import socket\nsocket.create_connection(('127.0.0.1', @TCP@), 1)\n" + HONEST,
        level="landlock",
    ),
    _harm(
        "network",
        "connected",
        "UDP on loopback",
        "nothing is connected, and a datagram is out",
        "import socket\nsocket.socket(2, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', @UDP@))\n" + HONEST,
        level="landlock",
    ),
    _harm(
        "network",
        "connected",
        "local socket without a file",
        "abstract names belong to the network namespace, and have no permissions",
        "import socket\nsocket.socket(socket.AF_UNIX).connect('\\0@ABSTRACT@')\n" + HONEST,
        level="landlock",
    ),
    _harm(
        "network",
        "connected",
        "local socket with a file",
        "desktop buses and daemons for containers listen there",
        "import socket\nsocket.socket(socket.AF_UNIX).connect('@SOCKET@')\n" + HONEST,
        level="landlock",
    ),
]

FILES = [
    _harm(
        "files",
        "leak",
        "private file",
        "the program may read what its user may",
        "raise ValueError(open('@PRIVATE@').read())",
        level="landlock",
        as_root="rlimits",
    ),
    _harm(
        "files",
        "leak",
        "public file",
        "others may read it: no user of its own helps",
        "raise ValueError(open('@PUBLIC@').read())",
        level="landlock",
    ),
    _harm(
        "files",
        "precious",
        "overwritten file",
        "the program may write what its user may",
        "open('@PRECIOUS@', 'w').close()\n" + HONEST,
        level="landlock",
        as_root="rlimits",
    ),
    _harm(
        "files",
        "precious",
        "deleted file",
        "tests that are deleted can't fail the next program",
        "import os\nos.remove('@PRECIOUS@')\n" + HONEST,
        level="landlock",
        as_root="rlimits",
    ),
    _harm(
        "files",
        "file",
        "module among the judge's own",
        "the next judge imports it",
        "open('@PACKAGE@/@TOKEN@.py', 'w').close()\n" + HONEST,
        level="landlock",
        as_root="rlimits",
    ),
    _harm(
        "files",
        "leak",
        "file that the judge has open",
        "descriptors are inherited, whatever the permissions of the file are",
        "import os\nfound = b''\nfor fd in range(3, 200):\n    try: found += os.pread(fd, 200, 0)\n"
        "    except OSError: pass\n"
        "raise ValueError(found)",
    ),
    _harm(
        "files",
        "leak",
        "file that another process has open",
        "/proc gives its descriptors to the same user",
        "raise ValueError(open('/proc/@BYSTANDER@/fd/@BYSTANDER_FD@').read())",
        level="landlock",
        as_root="rlimits",
    ),
]

ENVIRONMENT = [
    _harm(
        "environment",
        "leak",
        "environment variables",
        "keys and tokens of the user are inherited",
        "import os\nraise ValueError(os.environ.get('ATTACK_SECRET'))",
    ),
    _harm(
        "environment",
        "leak",
        "environment of another process",
        "/proc gives it to the same user",
        "raise ValueError(open('/proc/@BYSTANDER@/environ').read())",
        level="landlock",
        as_root="rlimits",
    ),
    _harm(
        "environment",
        "leak",
        "environment of all processes",
        "the first process of a sandbox keeps the environment of who started it",
        "import glob\nfound = b''\nfor name in glob.glob('/proc/[0-9]*/environ'):\n    try:\n"
        "        text = open(name, 'rb').read()\n        if b'ATTACK_SECRET' in text: found += text[-200:]\n"
        "    except OSError: pass\nraise ValueError(found)",
        level="landlock",
        as_root="rlimits",
    ),
    _harm(
        "environment",
        "leak",
        "arguments of another process",
        "anyone may read them",
        "raise ValueError(open('/proc/@BYSTANDER@/cmdline').read())",
        level="namespaces",
    ),
    _harm(
        "environment",
        "leak",
        "memory of another process",
        "the kernel copies it for the same user, without /proc",
        "import ctypes, re\nlibc = ctypes.CDLL(None)\nclass Piece(ctypes.Structure):\n"
        "    _fields_ = [('base', ctypes.c_void_p), ('size', ctypes.c_size_t)]\n"
        "found = []\nfor line in open('/proc/@BYSTANDER@/maps'):\n"
        "    low, high = (int(p, 16) for p in line.split()[0].split('-'))\n"
        "    if '[heap]' in line or line.split()[1] == 'rw-p':\n"
        "        room = ctypes.create_string_buffer(high - low)\n"
        "        libc.process_vm_readv(@BYSTANDER@, ctypes.byref(Piece(ctypes.addressof(room), high - low)), 1,"
        " ctypes.byref(Piece(low, high - low)), 1, 0)\n        found += re.findall(rb's3cr3t-[0-9a-f]+', room.raw)\n"
        "raise ValueError(found[:5])",
        level="landlock",
        as_root="rlimits",
    ),
]

KERNEL = [
    _harm(
        "kernel",
        "reached",
        "user namespace",
        "in one of its own it is root, and reaches parts of the kernel that were never meant for users",
        "import ctypes\nif ctypes.CDLL(None).unshare(0x10000000) == 0: " + _reached("root of a namespace"),
        level="landlock",
    ),
    _harm(
        "kernel",
        "reached",
        "io_uring",
        "a second way to most system calls, past the filters of the first",
        "import ctypes\nif ctypes.CDLL(None).syscall(425, 4, ctypes.create_string_buffer(120)) >= 0: "
        + _reached("a ring"),
        level="landlock",
    ),
]

ATTACKS = [*SURVIVORS, *BOMBS, *FLOODS, *DISK, *SIGNALS, *NETWORK, *FILES, *ENVIRONMENT, *KERNEL]
