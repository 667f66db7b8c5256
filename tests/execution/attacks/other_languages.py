"""Programs in other languages than Python, whose tests are appended as MultiPL-E does: the exit status decides there.

`tests` closes the function where the language needs it, so a program ends inside its function `add`.
"""

from __future__ import annotations

from attacks.corpus import Attack

_JAVA = "import java.util.*;\nclass Problem {\n"
_JAVA_ADD = "    public static long add(long x, long y) {\n        return 0;\n"
_CSHARP = "using System;\nusing System.Diagnostics;\nclass Problem {\n"
_CSHARP_ADD = "    public static long Add(long x, long y) {\n        return 0;\n"
_CPP = "#include <assert.h>\n#include <stdlib.h>\n#include <unistd.h>\n"
_CPP_ADD = "long add(long x, long y) {\n    return 0;\n"
_JS_ADD = "function add(x, y) {\n    return 0;\n}\n"
_TS_ADD = "function add(x: number, y: number): number {\n    return 0;\n}\n"
_GO = 'package add_test\n\nimport (\n    "testing"\n    "fmt"\n'
_GO_ADD = "func add(x int, y int) int {\n    return 0\n}\n"
_RUST_ADD = "fn add(x: isize, y: isize) -> isize {\n    0\n"
_SH_ADD = "add() {\n    echo 0\n"

TESTS = {
    "cpp": """}
int main() {
    auto candidate = add;
    assert(candidate((0), (1)) == (1));
    assert(candidate((2), (3)) == (5));
}
""",
    "java": """    }
    public static void main(String[] args) {
    assert(add((0l), (1l)) == (1l));
    assert(add((2l), (3l)) == (5l));
    }

}
""",
    "javascript": """const assert = require('node:assert');


function test() {
  let candidate = add;
  assert.deepEqual(candidate(0, 1),1);
  assert.deepEqual(candidate(2, 3),5);
}

test();
""",
    "typescript": """declare var require: any;
const assert = require('node:assert');


function test() {
  let candidate = add;
  assert.deepEqual(candidate(0, 1),1);
  assert.deepEqual(candidate(2, 3),5);
}

test();
""",
    "php": """function candidate(...$args) {
    return add(...$args);
}

function test(): void {
    if (candidate(0, 1) !== 1) { throw new Exception("Test failed!"); }
    if (candidate(2, 3) !== 5) { throw new Exception("Test failed!"); }
}

test();
""",
    "csharp": """    }
    public static void Main(string[] args) {
    Debug.Assert(Add((0L), (1L)) == (1L));
    Debug.Assert(Add((2L), (3L)) == (5L));
    }

}
""",
    "bash": """}

candidate() {
    add "$@"
}

set -e
run_test() {
    [[ $(candidate "0" "1") = "1" ]]
    [[ $(candidate "2" "3") = "5" ]]
}

run_test
""",
    "ruby": """require 'test/unit'
class TestHumanEval < Test::Unit::TestCase
  def test_add
    candidate = method(:add)
    assert_equal(1, candidate.call(0, 1))
    assert_equal(5, candidate.call(2, 3))
  end
end
""",
    "perl": """use Test::Deep;


sub testhumaneval {
    my $candidate = \\&add;
        if(eq_deeply($candidate->(0, 1),1)) {
        print "ok!" }else{
        exit 1;
        }
        if(eq_deeply($candidate->(2, 3),5)) {
        print "ok!" }else{
        exit 1;
        }
}

testhumaneval();
""",
    "go": """func TestAdd(t *testing.T) {
  candidate := add
	type test struct {
		actual   interface{}
		expected interface{}
	}
   tests := []test{
     { actual: candidate(0, 1), expected: 1 },
     { actual: candidate(2, 3), expected: 5 },
   }

	for i, tc := range tests {
		t.Run(fmt.Sprintf("test num % d", i), func(t *testing.T) {
			if fmt.Sprintf("%v", tc.actual) != fmt.Sprintf("%v", tc.expected) {
				t.Errorf("expected '%s', got '%s'", tc.expected, tc.actual)
			}
		})
	}
}
""",
    "rust": """}

fn main() {
    let candidate = add;
    assert_eq!(candidate(0, 1), 1);
    assert_eq!(candidate(2, 3), 5);
}
""",
}
"""One task, a sum, in the shape of MultiPL-E's translations of HumanEval."""

HONEST = {
    "cpp": _CPP + "long add(long x, long y) {\n    return x + y;\n",
    "java": _JAVA + "    public static long add(long x, long y) {\n        return x + y;\n",
    "javascript": "function add(x, y) {\n    return x + y;\n}\n",
    "typescript": "function add(x: number, y: number): number {\n    return x + y;\n}\n",
    "php": "<?php\nfunction add($x, $y) {\n    return $x + $y;\n}\n",
    "csharp": _CSHARP + "    public static long Add(long x, long y) {\n        return x + y;\n",
    "bash": "#!/bin/bash\nadd() {\n    echo $(($1 + $2))\n",
    "ruby": "def add(x, y)\n  x + y\nend\n",
    "perl": "sub add {\n    my($x, $y) = @_;\n    return $x + $y;\n}\n",
    "go": _GO + ")\n\nfunc add(x int, y int) int {\n    return x + y\n}\n",
    "rust": "fn add(x: isize, y: isize) -> isize {\n    x + y\n",
}


def _cheat(language: str, kind: str, name: str, why: str, program: str, **more: object) -> Attack:
    tests = TESTS[language]
    return Attack(name, kind, why, program, naive="exit_status", language=language, tests=tests, **more)  # type: ignore[arg-type]


def _harm(language: str, kind: str, harm: str, name: str, why: str, program: str, **more: object) -> Attack:
    return _cheat(language, kind, name, why, program, harm=harm, **more)


CPP = [
    _cheat(
        "cpp",
        "exits",
        "_exit in a static initialiser",
        "it runs before main",
        _CPP + "static int early = (_exit(0), 0);\n" + _CPP_ADD,
    ),
    _cheat(
        "cpp",
        "patched tests",
        "assert defined away",
        "the preprocessor rewrites the tests",
        _CPP + "#undef assert\n#define assert(condition) ((void)0)\n" + _CPP_ADD,
    ),
    _cheat(
        "cpp",
        "patched tests",
        "another main",
        "a macro makes the tests' main a function that nobody calls",
        _CPP + "int main() { return 0; }\n#define main unused\n" + _CPP_ADD,
    ),
    _cheat(
        "cpp",
        "equality",
        "type equal to everything",
        "a macro changes what the tests call",
        _CPP + "struct Any { template <class T> bool operator==(const T&) const { return true; } };\n"
        "static Any any(long, long) { return {}; }\n#define add any\nstatic long unused() {\n    return 0;\n",
    ),
    _cheat(
        "cpp",
        "exits",
        "handler of the abort",
        "a failed assertion is a signal, which the program handles",
        _CPP + "#include <signal.h>\nstatic void end(int) { _exit(0); }\n"
        "static auto old = signal(SIGABRT, end);\n" + _CPP_ADD,
    ),
    _harm(
        "cpp",
        "compile-time bombs",
        "late",
        "endless include",
        "the compiler reads the device to its end; /dev/zero would fill its memory before it is late",
        '#include "/dev/urandom"\n' + _CPP + _CPP_ADD,
    ),
    _harm(
        "cpp",
        "compile-time bombs",
        "late",
        "exponential templates",
        "two new types from each: the compiler has no limit on their number",
        _CPP + "template <int N, long M> struct Tree {\n"
        "    static const long value = Tree<N - 1, 2 * M>::value + Tree<N - 1, 2 * M + 1>::value;\n};\n"
        "template <long M> struct Tree<0, M> { static const long value = 1; };\n"
        "const long bomb = Tree<26, 1>::value;\n" + _CPP_ADD,
        slow=True,
    ),
    _harm(
        "cpp",
        "compile-time bombs",
        "solved",
        "object file of 160 MB",
        "a line of source is a file as large as it likes",
        _CPP + "char filler[160 << 20] = {1};\nlong add(long x, long y) {\n    return x + y;\n",
    ),
    _harm(
        "cpp",
        "files",
        "leak",
        "include of a private file",
        "the compiler runs as the judge's user, and quotes what it can't compile",
        '#include "@PRIVATE@"\n' + _CPP + _CPP_ADD,
        level="landlock",
        as_root="rlimits",
    ),
    _harm(
        "cpp",
        "files",
        "leak",
        "include of a public file",
        "no user of its own helps",
        '#include "@PUBLIC@"\n' + _CPP + _CPP_ADD,
        level="landlock",
    ),
]

JVM = [
    _cheat(
        "java",
        "exits",
        "System.exit in a static block",
        "it runs before main",
        _JAVA + "    static { System.exit(0); }\n" + _JAVA_ADD,
    ),
    _cheat(
        "java",
        "exits",
        "halt in a shutdown hook",
        "it runs after the failed assertion, and chooses the status",
        _JAVA
        + "    static { Runtime.getRuntime().addShutdownHook(new Thread(() -> Runtime.getRuntime().halt(0))); }\n"
        + _JAVA_ADD,
    ),
    _cheat(
        "java",
        "exits",
        "handler of uncaught exceptions",
        "the failed assertion is an exception that the program handles",
        _JAVA
        + "    static { Thread.setDefaultUncaughtExceptionHandler((thread, error) -> System.exit(0)); }\n"
        + _JAVA_ADD,
        slow=True,
    ),
    _cheat(
        "csharp",
        "exits",
        "Environment.Exit in a static constructor",
        "it runs before Main",
        _CSHARP + "    static Problem() { Environment.Exit(0); }\n" + _CSHARP_ADD,
    ),
    _cheat(
        "csharp",
        "patched tests",
        "listeners removed",
        "a failed Debug.Assert only tells its listeners",
        _CSHARP + "    static Problem() { Debug.Listeners.Clear(); }\n" + _CSHARP_ADD,
    ),
    _cheat(
        "csharp",
        "patched tests",
        "class of the tests' name",
        "the nearest class called Debug is the program's",
        _CSHARP + "    static class Debug { public static void Assert(bool condition) { } }\n" + _CSHARP_ADD,
    ),
]

SCRIPTS = [
    _cheat("javascript", "exits", "process.exit", "it ends before the tests", "process.exit(0);\n" + _JS_ADD),
    _cheat(
        "javascript",
        "patched tests",
        "patched deepEqual",
        "modules are shared by program and tests",
        "require('node:assert').deepEqual = () => {};\n" + _JS_ADD,
    ),
    _cheat(
        "javascript",
        "exits",
        "handler of uncaught exceptions",
        "a failed assertion is an exception that the program handles",
        "process.on('uncaughtException', () => process.exit(0));\n" + _JS_ADD,
    ),
    _cheat(
        "javascript",
        "exits",
        "hook for stack traces",
        "making the error of a failed assertion calls the program",
        "Error.prepareStackTrace = () => process.exit(0);\n" + _JS_ADD,
    ),
    _harm(
        "javascript",
        "survivors",
        "process",
        "detached child",
        "a process in a session of its own outlives the program",
        "require('child_process').spawn('/bin/sleep', ['30'],"
        " {argv0: '@TOKEN@', detached: true, stdio: 'ignore'}).unref();\n" + HONEST["javascript"],
    ),
    _cheat(
        "typescript",
        "exits",
        "process.exit",
        "it ends before the tests",
        "declare var process: any;\nprocess.exit(0);\n" + _TS_ADD,
    ),
    _cheat(
        "typescript",
        "patched tests",
        "setter on every object",
        "the error of a failed assertion stores what it got",
        "declare var process: any;\n"
        "Object.defineProperty(Object.prototype, 'actual', {set() { process.exit(0); }});\n" + _TS_ADD,
        slow=True,
    ),
    _harm(
        "typescript",
        "compile-time bombs",
        "late",
        "exponential types",
        "the type checker computes what the program asks for",
        "type Tree<A extends 0[], B extends string> = A['length'] extends 20 ? B :\n"
        "    Tree<[...A, 0], `${B}0`> extends infer X ? Tree<[...A, 0], `${B}1`> extends infer Y ? X | Y : 0 : 0;\n"
        "const bomb: Tree<[], ''> = '0';\n" + _TS_ADD,
        slow=True,
    ),
    _cheat(
        "php",
        "exits",
        "exit",
        "it ends before the tests",
        "<?php\nexit(0);\nfunction add($x, $y) {\n    return 0;\n}\n",
    ),
    _cheat(
        "php",
        "patched tests",
        "the source ends here",
        "the compiler reads no further: the tests are data",
        "<?php\nfunction add($x, $y) {\n    return 0;\n}\n__halt_compiler();\n",
    ),
    _cheat(
        "php",
        "exits",
        "handler of exceptions",
        "a failed test is an exception that the program handles",
        "<?php\nset_exception_handler(function ($error) { exit(0); });\nfunction add($x, $y) {\n    return 0;\n}\n",
    ),
    _cheat(
        "bash",
        "exits",
        "trap at the end",
        "the trap chooses the exit status",
        "#!/bin/bash\ntrap 'exit 0' EXIT\n" + _SH_ADD,
    ),
    _cheat(
        "bash",
        "patched tests",
        "text that never ends",
        "the tests become the text of a here-document, with no more than a warning",
        "#!/bin/bash\n: <<'NEVER'\n" + _SH_ADD,
    ),
    _cheat(
        "bash",
        "patched tests",
        "alias of [[",
        "even reserved words are replaced when the tests are read",
        "#!/bin/bash\nshopt -s expand_aliases\nalias '[['=':'\n" + _SH_ADD,
    ),
    _cheat(
        "bash",
        "frames",
        "its own source file",
        "the expected value stands in the file that runs",
        '#!/bin/bash\nadd() {\n    sed -n "s/.*candidate \\"$1\\" \\"$2\\") = \\"\\(.*\\)\\".*/\\1/p" "$0"\n',
    ),
    _harm(
        "bash",
        "survivors",
        "process",
        "background job",
        "a job in a session of its own goes on when the shell ends",
        "#!/bin/bash\n(setsid bash -c 'exec -a @TOKEN@ sleep 30' >/dev/null 2>&1 &)\nsleep 0.2\n" + HONEST["bash"],
    ),
    _cheat(
        "ruby",
        "exits",
        "exit! at the end",
        "the last word on the exit status is the program's",
        "at_exit { exit! 0 }\nrequire 'test/unit'\ndef add(x, y)\n  0\nend\n",
    ),
    _cheat(
        "ruby",
        "patched tests",
        "the source ends here",
        "what follows the marker is data",
        "def add(x, y)\n  0\nend\n__END__\n",
    ),
    _cheat(
        "ruby",
        "equality",
        "equal to everything",
        "a number asks an object that it does not know",
        "class Any\n  def ==(other)\n    true\n  end\n  def method_missing(*)\n    self\n  end\nend\n"
        "def add(x, y)\n  Any.new\nend\n",
    ),
    _cheat(
        "ruby",
        "patched tests",
        "patched Integer",
        "classes of the language are open",
        "class Integer\n  def ==(other)\n    true\n  end\nend\ndef add(x, y)\n  0\nend\n",
    ),
    _cheat(
        "perl",
        "exits",
        "exit while compiling",
        "BEGIN runs before the rest is even read",
        "BEGIN { exit 0 }\nsub add {\n    return 0;\n}\n",
    ),
    _cheat(
        "perl",
        "exits",
        "exit status in END",
        "END may set the status of an exit that has begun",
        "END { $? = 0 }\nsub add {\n    return 0;\n}\n",
    ),
    _cheat(
        "perl",
        "patched tests",
        "patched eq_deeply",
        "the tests' import is undone when the program runs",
        "INIT { no warnings; *main::eq_deeply = sub { 1 } }\nsub add {\n    return 0;\n}\n",
    ),
    _cheat(
        "perl",
        "patched tests",
        "the source ends here",
        "what follows the marker is data",
        "sub add {\n    return 0;\n}\n__END__\n",
    ),
    _harm(
        "perl",
        "bombs",
        "reached",
        "processes",
        "no limit on processes",
        "my @made;\nfor (1 .. 200) {\n    my $pid = fork();\n    if (defined $pid && $pid == 0) { sleep 5; exit 0 }\n"
        "    push @made, $pid if defined $pid;\n}\nkill 9, @made;\n"
        "die 'reached ' . reverse('@TOKEN@') if @made == 200;\n" + HONEST["perl"],
    ),
]

GO_AND_RUST = [
    _cheat(
        "go",
        "exits",
        "os.Exit in init",
        "it runs before the tests",
        _GO + '    "os"\n)\n\nfunc init() { os.Exit(0) }\n' + _GO_ADD,
        slow=True,
    ),
    _cheat(
        "go",
        "patched tests",
        "TestMain that runs nothing",
        "the test framework leaves it to the program to run the tests",
        _GO + ")\n\nfunc TestMain(m *testing.M) {}\n" + _GO_ADD,
    ),
    _cheat(
        "rust",
        "exits",
        "exit when called",
        "it ends in the first test",
        "fn add(x: isize, y: isize) -> isize {\n    std::process::exit(0)\n",
    ),
    _cheat(
        "rust",
        "patched tests",
        "assert_eq defined anew",
        "a macro of the program hides the library's",
        "macro_rules! assert_eq { ($($rest:tt)*) => {}; }\n" + _RUST_ADD,
    ),
    _cheat(
        "rust",
        "exits",
        "constructor of the file",
        "the loader calls it before main",
        'extern "C" fn early() { std::process::exit(0) }\n#[used]\n#[unsafe(link_section = ".init_array")]\n'
        'static EARLY: extern "C" fn() = early;\n' + _RUST_ADD,
    ),
    _cheat(
        "rust",
        "equality",
        "type equal to every number",
        "the comparison is the program's",
        "#[derive(Debug)]\nstruct Any;\nimpl PartialEq<i32> for Any {\n"
        "    fn eq(&self, _: &i32) -> bool { true }\n}\n"
        "fn add(_: isize, _: isize) -> Any {\n    Any\n",
    ),
    _harm(
        "rust",
        "compile-time bombs",
        "solved",
        "executable of 160 MB",
        "a line of source is a file as large as it likes",
        "#[used]\nstatic FILLER: [u8; 160 << 20] = [1; 160 << 20];\n" + HONEST["rust"],
    ),
    _harm(
        "rust",
        "files",
        "leak",
        "private file in a string",
        "the compiler runs as the judge's user and puts the file into the program",
        'fn add(_: isize, _: isize) -> isize {\n    panic!("{}", include_str!("@PRIVATE@"))\n',
        level="landlock",
        as_root="rlimits",
    ),
]

ATTACKS = [*CPP, *JVM, *SCRIPTS, *GO_AND_RUST]
