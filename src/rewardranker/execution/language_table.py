"""The table of languages: everything the judge knows about a language is one row here.

To add a language, add a row. Command lines are tuples of words; the first word is a key of the row's `programs`, or
`./program` for what was compiled. Filled in elsewhere: `{memory_mb}` is the memory a program may have, `{main}` the
class that has `main` (Java, Scala), `{library:NAME}` the path of a library file, empty where it is missing. Paths are
relative to the program's folder, which is also the working directory: writable while compiling, read-only while
running.

A program passes when its last command exits with status 0 and neither `failed_stderr` nor `failed_stdout` matches.
This is MultiPL-E's rule; the evaluators there are the reference for flags too. Differences that remain:

* Times: MultiPL-E bounds the wall clock (5 to 45 s by language), the judge bounds CPU seconds of the run alone.
* Output: MultiPL-E searches the first 2 KB or so of each stream, the judge the part that it keeps.
* C#: MultiPL-E ignores mono's exit status; here a status other than 0 fails as well (`Environment.Exit(1)`). `csc`
  is taken where present; Debian has only `mcs`, which knows C# up to version 7 (no records, no switch expressions).
* D: `ldc2` takes the place of `rdmd` and `dmd` where those are missing; floating point may differ in the last bit.
* TypeScript: compilers from 6.0 on check strictly unless told otherwise, so `--strict false` restores what older ones
  did; they still write `"use strict"`, so a program that assigns to an undeclared global fails with them.
* Go: the test file is compiled first (with the checks of `go vet` that `go test` makes) and run as a program of its
  own, so that compile and run have limits of their own; MultiPL-E only searches the output for FAIL, here a status
  other than 0 fails as well.
* Java, Scala: a heap limit, the serial collector, and one processor as far as the runtime sees; Go sees two.
* R: no start-up files are read. PHP: messages go to standard error, and only the judge limits memory.
* Bash, R, Perl, Racket, Lua, Ruby, PHP, JavaScript: the same command; versions are the machine's.

Nothing here says that a program is honest: exit status 0 is easily had. The judge asks again with changed tests.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Command = tuple[str, ...]
"""A command line; see the module's text for what its words may be."""
Way = tuple[Command, ...]
"""The steps of one way to compile, in order; each must exit with status 0."""


@dataclass(frozen=True)
class Library:
    """A file beyond the toolchain itself that the usual tests of a language need."""

    name: str
    used: str
    """Regular expression: a program that it matches needs the library."""
    install: str
    files: tuple[str, ...] = ()
    """Any one of these is the library."""
    probe: Command = ()
    """Where `files` is empty: it exits with status 0 where the library is present."""


@dataclass(frozen=True, eq=False)
class Language:
    """One row of the table."""

    code: str
    """MultiPL-E's short name, which data sets carry."""
    name: str
    """The usual name, as users type it and records show it."""
    title: str
    """The name in prose."""
    source: str
    """Name of the source file; may contain `{main}`."""
    programs: Mapping[str, tuple[str, ...]]
    """Executables by the name that command lines give them; of several, the first present is taken."""
    run: Command
    version: tuple[Command, ...]
    """Commands that print the versions of what compiles and runs: the first number with a point in it counts."""
    install: str
    """How to get the toolchain."""
    tests: str
    """How the tests decide, in a few words."""
    compile: tuple[Way, ...] = ()
    """Ways to compile, tried in order until one succeeds; a compile error is believed when the last one reports it."""
    aliases: tuple[str, ...] = ()
    """Other names; letter case does not matter."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside PATH, HOME=/tmp and LANG=C.UTF-8."""
    libraries: tuple[Library, ...] = ()
    main_class: str = ""
    """The class with `main` that the usual tests define; empty: the language has no such thing."""

    failed_stderr: str = ""
    """Regular expression on standard error: a match fails the program whatever its exit status."""
    failed_stdout: str = ""
    wrong_answer: str = ""
    """Regular expression on both streams of a failed program: a test did not hold (not an error of the program)."""
    wrong_answer_exit: int | None = None
    """Exit status that says the same, where the tests print nothing."""
    compile_error: str = ""
    """Regular expression on both streams of a failed run: the program was not well-formed. For languages that compile
    only as they start."""

    failed_line: str = ""
    """Regular expression on both streams of a failed run whose group is the line of the test that did not hold; empty:
    the language does not tell it."""

    compile_seconds: float = 30.0
    """CPU seconds of all compile steps of one way."""
    compile_memory_mb: int = 2048
    compile_tasks: int = 64
    """Processes and threads while compiling."""
    memory_limit: Literal["address space", "data"] = "address space"
    """What can be limited: `data` (RLIMIT_DATA) for runtimes that reserve far more addresses than they use."""
    runtime_mb: int = 64
    """MiB that the runtime itself takes of that limit (measured, and half as much again), to be added to the program's
    own allowance."""
    tasks: int = 1
    """Processes and threads that an honest program's runtime has."""
    server: str | None = None
    """Name of the faster way to run it (precompiled header, compile server), where the judge has one."""


_JAVA_FLAGS = ("-Xms32m", "-XX:+UseSerialGC", "-XX:ActiveProcessorCount=1", "-XX:-UsePerfData")
"""Heap and threads that do not depend on the machine's size: CPU seconds of all threads count against the limit."""
_JAVAC_FLAGS = tuple(f"-J{flag}" for flag in (*_JAVA_FLAGS, "-XX:TieredStopAtLevel=1"))
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

LANGUAGES: tuple[Language, ...] = (
    Language(
        code="py",
        name="python",
        title="Python",
        aliases=("python3", "notypes.py"),
        source="program.py",
        programs={"python": (sys.executable,)},
        run=("python", "-I", "program.py"),
        version=(("python", "--version"),),
        install="the judge's own interpreter is used",
        tests="assert; functions are called from another process",
        wrong_answer=r"(?m)^AssertionError",
        compile_error=r"(?m)^(SyntaxError|IndentationError|TabError)",
    ),
    Language(
        code="cpp",
        name="cpp",
        title="C++",
        aliases=("c++", "cxx", "cc", "g++"),
        source="program.cpp",
        failed_line=r"program\.cpp:(\d+): .*Assertion",
        programs={"g++": ("g++", "clang++")},
        compile=((("g++", "-std=c++17", "program.cpp", "-o", "program"),),),
        run=("./program",),
        version=(("g++", "--version"),),
        install="apt-get install g++",
        tests="assert() aborts",
        wrong_answer=r"Assertion .* failed",
    ),
    Language(
        code="java",
        name="java",
        title="Java",
        source="{main}.java",
        failed_line=r"at \w+\.main\(\w+\.java:(\d+)\)",
        main_class="Problem",
        programs={"javac": ("javac",), "java": ("java",)},
        compile=(
            (
                (
                    *("javac", *_JAVAC_FLAGS, "-J-Xmx512m"),
                    *("-encoding", "UTF8", "-cp", "{library:javatuples}", "-d", ".", "{main}.java"),
                ),
            ),
        ),
        run=(
            *("java", *_JAVA_FLAGS, "-Xmx{memory_mb}m", "-ea"),
            *("-cp", ".:{library:javatuples}", "{main}"),
        ),
        version=(("javac", "-version"),),
        install="apt-get install default-jdk-headless",
        tests="assert statement (-ea) throws AssertionError",
        libraries=(
            Library(
                "javatuples",
                used=r"(?m)^\s*import\s+org\.javatuples\b",
                install="apt-get install libjavatuples-java",
                files=(
                    "/usr/share/java/javatuples.jar",
                    "/usr/share/java/javatuples-1.2.jar",
                    "/usr/multiple/javatuples-1.2.jar",
                ),
            ),
        ),
        wrong_answer=r"java\.lang\.AssertionError",
        memory_limit="data",
        runtime_mb=160,
        tasks=64,
    ),
    Language(
        code="js",
        name="javascript",
        title="JavaScript",
        aliases=("node", "nodejs", "ecmascript"),
        source="program.js",
        failed_line=r"at test \(.*program\.js:(\d+)",
        programs={"node": ("node", "nodejs")},
        run=("node", "--max-old-space-size={memory_mb}", "program.js"),
        version=(("node", "--version"),),
        install="apt-get install nodejs",
        tests="node:assert throws",
        wrong_answer=r"ERR_ASSERTION|AssertionError",
        compile_error=r"(?m)^SyntaxError",
        memory_limit="data",
        runtime_mb=128,
        tasks=32,
    ),
    Language(
        code="ts",
        name="typescript",
        title="TypeScript",
        source="program.ts",
        programs={"tsc": ("tsc",), "node": ("node", "nodejs")},
        compile=((("tsc", "--target", "esnext", "--strict", "false", "program.ts"),),),
        run=("node", "--max-old-space-size={memory_mb}", "program.js"),
        version=(("tsc", "--version"), ("node", "--version")),
        install="apt-get install nodejs npm && npm install --global typescript",
        tests="node:assert throws",
        environment={"GOMAXPROCS": "2"},
        wrong_answer=r"ERR_ASSERTION|AssertionError",
        memory_limit="data",
        runtime_mb=128,
        tasks=32,
    ),
    Language(
        code="php",
        name="php",
        title="PHP",
        source="program.php",
        failed_line=r"Uncaught Exception: Test failed! in .*program\.php:(\d+)",
        programs={"php": ("php",)},
        run=("php", "-d", "memory_limit=-1", "-d", "display_errors=stderr", "-d", "log_errors=0", "program.php"),
        version=(("php", "--version"),),
        install="apt-get install php-cli",
        tests="an exception that nobody catches",
        wrong_answer=r"Uncaught Exception: Test failed!",
        compile_error=r"(?m)^(PHP )?Parse error",
        runtime_mb=160,
    ),
    Language(
        code="cs",
        name="csharp",
        title="C#",
        aliases=("c#", "c-sharp", "dotnet", "mono"),
        source="program.cs",
        programs={"csc": ("csc", "mcs"), "mono": ("mono",)},
        compile=((("csc", "-d:DEBUG", "-r:System.Numerics.dll", "-out:program.exe", "program.cs"),),),
        run=("mono", "program.exe"),
        version=(("csc", "--version"), ("mono", "--version")),
        install="apt-get install mono-mcs",
        tests="Debug.Assert writes to standard error and goes on",
        environment={"MONO_TRACE_LISTENER": "Console.Error"},
        failed_stderr=r"System\.Diagnostics\.DefaultTraceListener\.Fail|Unhandled Exception",
        wrong_answer=r"DefaultTraceListener\.Fail",
        memory_limit="data",
        runtime_mb=96,
        tasks=32,
    ),
    Language(
        code="sh",
        name="bash",
        title="Bash",
        aliases=("shell", "shellscript", "shell script"),
        source="program.sh",
        programs={"bash": ("bash",)},
        run=("bash", "program.sh"),
        version=(("bash", "--version"),),
        install="apt-get install bash bc gawk",
        tests="set -e: a false [[ ]] ends the program",
        wrong_answer_exit=1,
        compile_error=r"syntax error",
        tasks=64,
    ),
    Language(
        code="rs",
        name="rust",
        title="Rust",
        source="program.rs",
        failed_line=r"program\.rs:(\d+)",
        programs={"rustc": ("rustc",)},
        compile=((("rustc", "program.rs", "-o", "program"),),),
        run=("./program",),
        version=(("rustc", "--version"),),
        install="apt-get install rustc",
        tests="assert_eq! panics",
        wrong_answer=r"assertion .*failed",
    ),
    Language(
        code="go",
        name="go",
        title="Go",
        aliases=("golang", "go_test.go"),
        source="program_test.go",
        programs={"go": ("go",)},
        compile=((("go", "test", "-c", "-o", "program", "program_test.go"),),),
        run=("./program", "-test.paniconexit0"),
        version=(("go", "version"),),
        install="apt-get install golang-go",
        tests="the testing package",
        environment={
            "GO111MODULE": "off",
            "GOPROXY": "off",
            "GOTOOLCHAIN": "local",
            "GOMAXPROCS": "2",
        },
        failed_stdout=r"FAIL",
        wrong_answer=r"_test\.go:\d+: expected",
        memory_limit="data",
        runtime_mb=128,
        tasks=32,
    ),
    Language(
        code="rb",
        name="ruby",
        title="Ruby",
        source="program.rb",
        failed_line=r"(?m)^program\.rb:(\d+):in ",
        programs={"ruby": ("ruby",)},
        run=("ruby", "program.rb"),
        version=(("ruby", "--version"),),
        install="apt-get install ruby",
        tests="test-unit",
        libraries=(
            Library(
                "test-unit",
                used=r"require\s*\(?\s*['\"]test/unit['\"]",
                install="apt-get install ruby-test-unit",
                probe=("ruby", "-e", "gem 'test-unit'"),
            ),
        ),
        wrong_answer=r"(?m)^Failure: ",
        compile_error=r"syntax error|SyntaxError",
        tasks=4,
        runtime_mb=160,
    ),
    Language(
        code="lua",
        name="lua",
        title="Lua",
        source="program.lua",
        failed_line=r"program\.lua:(\d+): expected",
        programs={"lua": ("lua5.3", "lua", "lua5.4")},
        run=("lua", "program.lua"),
        version=(("lua", "-v"),),
        install="apt-get install lua5.3",
        tests="luaunit",
        libraries=(
            Library(
                "luaunit",
                used=r"require\s*\(?\s*['\"]luaunit['\"]",
                install="apt-get install lua-unit",
                probe=("lua", "-e", "require('luaunit')"),
            ),
        ),
        wrong_answer=r"(?s)expected: .*actual: ",
        compile_error=r"(?m)^\S*lua[\d.]*: \S+:\d+: .* near ",
    ),
    Language(
        code="pl",
        name="perl",
        title="Perl",
        source="program.pl",
        programs={"perl": ("perl",)},
        run=("perl", "program.pl"),
        version=(("perl", "-e", 'print "perl $^V"'),),
        install="apt-get install perl",
        tests="exit 1 where Test::Deep finds a difference",
        libraries=(
            Library(
                "Test::Deep",
                used=r"(?m)^\s*use\s+Test::Deep\b",
                install="apt-get install libtest-deep-perl",
                probe=("perl", "-MTest::Deep", "-e", "1"),
            ),
        ),
        failed_stderr=r"ERROR",
        failed_stdout=r"ERROR",
        wrong_answer_exit=1,
        compile_error=r"syntax error at|aborted due to compilation errors",
    ),
    Language(
        code="r",
        name="r",
        title="R",
        aliases=("rscript", "humaneval_to_r.py"),
        source="program.r",
        programs={"Rscript": ("Rscript",)},
        run=("Rscript", "--vanilla", "program.r"),
        version=(("Rscript", "--version"),),
        install="apt-get install r-base-core",
        tests="stopifnot()",
        environment=_ONE_THREAD,
        wrong_answer=r"is not TRUE|are not all TRUE",
        compile_error=r"(?m)^Error: unexpected",
        runtime_mb=256,
        tasks=16,
    ),
    Language(
        code="rkt",
        name="racket",
        title="Racket",
        source="program.rkt",
        failed_line=r"program\.rkt:(\d+)",
        programs={"racket": ("racket",)},
        run=("racket", "program.rkt"),
        version=(("racket", "--version"),),
        install="apt-get install racket",
        tests="rackunit writes to standard error and goes on",
        libraries=(
            Library(
                "rackunit",
                used=r"\brackunit\b",
                install="apt-get install racket (racket-minimal lacks it)",
                probe=("racket", "-l", "racket/base", "-l", "rackunit"),
            ),
        ),
        failed_stderr=r"\S",
        wrong_answer=r"(?m)^FAILURE$",
        compile_error=r"read-syntax|unbound identifier|bad syntax|duplicate definition",
        memory_limit="data",
        runtime_mb=288,
        tasks=4,
    ),
    Language(
        code="d",
        name="d",
        title="D",
        aliases=("dlang", "humaneval_to_dlang.py"),
        source="program.d",
        failed_line=r"program\.d\((\d+)\)",
        programs={"dmd": ("dmd", "ldmd2", "ldc2")},
        compile=((("dmd", "-unittest", "-main", "-of=program", "program.d"),),),
        run=("./program",),
        version=(("dmd", "--version"),),
        install="apt-get install ldc",
        tests="unittest block",
        wrong_answer=r"\[unittest\]|AssertError",
    ),
    Language(
        code="scala",
        name="scala",
        title="Scala",
        source="program.scala",
        failed_line=r"\.main\(program\.scala:(\d+)\)",
        main_class="Problem",
        programs={"scalac": ("scalac",), "scala": ("scala",), "java": ("java",)},
        compile=((("scalac", *_JAVAC_FLAGS, "-J-Xmx768m", "-d", ".", "program.scala"),),),
        run=("scala", *(f"-J{flag}" for flag in _JAVA_FLAGS), "-J-Xmx{memory_mb}m", "-cp", ".", "{main}"),
        version=(("scalac", "-version"), ("java", "-version")),
        install="apt-get install scala default-jdk-headless",
        tests="assert() throws AssertionError",
        failed_stderr=r"\S",
        wrong_answer=r"java\.lang\.AssertionError",
        compile_seconds=60.0,
        memory_limit="data",
        runtime_mb=224,
        tasks=64,
    ),
    Language(
        code="jl",
        name="julia",
        title="Julia",
        source="program.jl",
        failed_line=r"program\.jl:(\d+)",
        programs={"julia": ("julia",)},
        run=("julia", "--startup-file=no", "program.jl"),
        version=(("julia", "--version"),),
        install="see julialang.org/downloads (Debian 12 has no package)",
        tests="@testset throws",
        environment={"JULIA_NUM_THREADS": "1", **_ONE_THREAD},
        wrong_answer=r"Test Failed",
        compile_error=r"syntax: |ParseError",
        memory_limit="data",
        runtime_mb=1024,
        tasks=32,
    ),
    Language(
        code="swift",
        name="swift",
        title="Swift",
        source="program.swift",
        programs={"swiftc": ("swiftc",)},
        compile=((("swiftc", "program.swift", "-o", "program"),),),
        run=("./program",),
        version=(("swiftc", "--version"),),
        install="see swift.org/install (Debian 12 has no package)",
        tests="assert() aborts",
        wrong_answer=r"Assertion failed",
        compile_seconds=45.0,
        tasks=16,
    ),
)
