"""Warm compilers of Java and Scala: what they answer, that nothing stays, that verdicts are those of the plain way."""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rewardranker.execution import languages, programs
from rewardranker.execution.accelerators import java, scala
from rewardranker.execution.languages import Toolchain

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "multipl-e"
SOLUTIONS = Path(__file__).parent / "solutions"
ACCELERATE = {"java": java.accelerate, "scala": scala.accelerate}
MEMORY_MB = 512


class Compiler:
    """A server as the worker talks to it, without the sandbox around it."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.process = subprocess.Popen(
            spec["argv"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/"
        )

    def ask(self, source: str | bytes, name: str = "Problem.java") -> tuple[int, bytes]:
        source = source.encode() if isinstance(source, str) else source
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        for frame in (name.encode(), source):
            self.process.stdin.write(struct.pack("<I", len(frame)) + frame)
        self.process.stdin.flush()
        answer = self.process.stdout.read(struct.unpack("<I", self.process.stdout.read(4))[0])
        return answer[0], answer[1:]

    def files(self, source: str, name: str = "Problem.java") -> dict[str, bytes]:
        kind, rest = self.ask(source, name)
        assert kind in (0, 3), rest.decode()
        parts = []
        while rest:
            length = struct.unpack("<I", rest[:4])[0]
            parts.append(rest[4 : 4 + length])
            rest = rest[4 + length :]
        return {parts[i].decode(): parts[i + 1] for i in range(0, len(parts), 2)}

    def error(self, source: str, name: str = "Problem.java") -> str:
        kind, rest = self.ask(source, name)
        assert kind == 1, (kind, rest[:500])
        return rest.decode()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()


def usable(code: str) -> tuple[Toolchain, dict[str, Any]]:
    found = languages.toolchain(languages.find(code))
    if found is None or found.lacking:
        pytest.skip(languages.install_hint(languages.find(code)))
    overrides = ACCELERATE[code](found, MEMORY_MB)
    if not overrides:
        pytest.skip(f"{code}: this toolchain can't be made faster")
    return found, overrides


def start(code: str) -> Iterator[Compiler]:
    compiler = Compiler(usable(code)[1]["server"])
    yield compiler
    compiler.close()


@pytest.fixture(scope="module")
def javac() -> Iterator[Compiler]:
    yield from start("java")


@pytest.fixture(scope="module")
def scalac() -> Iterator[Compiler]:
    yield from start("scala")


def java_main(body: str, members: str = "") -> str:
    return f"class Problem {{ {members} public static void main(String[] args) {{ {body} }} }}"


RIGHT = java_main('System.out.println("ok");')


def test_a_right_program_becomes_its_classes(javac: Compiler) -> None:
    files = javac.files(java_main("Runnable r = new Runnable() { public void run() {} };", "static class Inner {}"))
    assert set(files) == {"Problem.class", "Problem$1.class", "Problem$Inner.class"}
    assert all(content.startswith(b"\xca\xfe\xba\xbe") for content in files.values())


def test_a_wrong_program_gets_the_compilers_own_message(javac: Compiler) -> None:
    message = javac.error(java_main("int x =\n  missing;"))
    assert message.splitlines()[0] == "Problem.java:2: error: cannot find symbol"
    assert message.endswith("1 error\n")


def test_more_errors_than_are_shown_are_an_error(javac: Compiler) -> None:
    assert "error: cannot find symbol" in javac.error(java_main("missing();" * 150))


def test_a_class_of_an_earlier_program_is_not_there(javac: Compiler) -> None:
    helper = "class Helper { static int x = 1; }\n"
    user = java_main("System.out.println(Helper.x);")
    assert set(javac.files(helper + user)) == {"Problem.class", "Helper.class"}
    assert "cannot find symbol" in javac.error(user)


def test_a_missing_class_of_an_earlier_program_may_exist_now(javac: Compiler) -> None:
    user = java_main("System.out.println(Later.x);")
    assert "cannot find symbol" in javac.error(user)
    javac.files("class Later { static int x = 1; }\n" + user)


def test_a_class_that_shadows_the_platforms_stays_its_programs(javac: Compiler) -> None:
    javac.files("class String2 {} class List { int only; }\n" + RIGHT)
    javac.files("import java.util.*;\n" + java_main("List<Integer> xs = new ArrayList<>(); xs.add(1);"))


def test_a_class_in_a_package_is_left_to_the_plain_way(javac: Compiler) -> None:
    assert javac.ask("package a.b;\n" + RIGHT)[0] == 2


def test_a_source_that_is_not_utf8_is_left_to_the_plain_way(javac: Compiler) -> None:
    assert javac.ask(RIGHT.encode() + b"// \xff")[0] == 2


def test_annotation_processors_do_not_run(javac: Compiler, tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    processor = (
        "import java.util.*; import javax.annotation.processing.*; import javax.lang.model.element.*;\n"
        '@SupportedAnnotationTypes("*") class P extends AbstractProcessor {\n'
        "public boolean process(Set<? extends TypeElement> a, RoundEnvironment e) {\n"
        f'try {{ new java.io.File("{trace}").createNewFile(); }} catch (Exception x) {{}} return false; }} }}\n'
    )
    javac.files(processor + "@Deprecated " + RIGHT)
    javac.files(processor + "@Deprecated " + RIGHT)
    assert not trace.exists()


def test_a_source_reads_no_other_source(javac: Compiler, tmp_path: Path) -> None:
    (tmp_path / "Other.java").write_text("class Other { static int x = 1; }")
    for name in ("Problem.java", f"{tmp_path}/Problem.java"):
        kind, rest = javac.ask(java_main("System.out.println(Other.x);"), name)
        assert (kind, b"cannot find symbol" in rest) == (1, True)


HOSTILE = {
    "deep expression": lambda: java_main(f"int x = {'(' * 20000}1{')' * 20000};"),
    "long sum": lambda: java_main("String s = args[0]" + ' + "a"' * 20000 + ";"),
    "deep blocks": lambda: java_main("{" * 20000 + "}" * 20000),
    "huge constant": lambda: java_main(
        "".join(f"final String a{i + 1} = a{i} + a{i};" for i in range(31)).replace("a0 + a0", '"abcdefgh"')
    ),
    "10 MB of comment": lambda: RIGHT + "//" + "x" * 10_000_000,
    "10 MB of text": lambda: java_main('String s = "' + "x" * 10_000_000 + '";'),
    "no text": lambda: "",
    "control characters": lambda: "\0\x1a\ufeff" + RIGHT,
    "bad escape": lambda: "\\u00zz" + RIGHT,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_source_leaves_the_server_working(javac: Compiler, kind: str) -> None:
    answer, _ = javac.ask(HOSTILE[kind]())
    assert answer in (0, 1, 2, 3)
    assert "Problem.class" in javac.files(RIGHT)
    assert "cannot find symbol" in javac.error(java_main("missing();"))


def test_what_overflows_the_compilers_stack_is_left_to_the_plain_way(javac: Compiler) -> None:
    assert javac.ask(HOSTILE["deep expression"]())[0] == 2


SCALA = 'object Problem { def main(args: Array[String]): Unit = { println("ok") } }'


@pytest.mark.slow
def test_scala_a_right_program_becomes_its_classes(scalac: Compiler) -> None:
    assert {"Problem.class", "Problem$.class"} <= set(scalac.files(SCALA, "program.scala"))


@pytest.mark.slow
def test_scala_a_wrong_program_gets_the_compilers_own_message(scalac: Compiler) -> None:
    message = scalac.error(SCALA.replace("println", "missing"), "program.scala")
    assert message.splitlines()[0] == "program.scala:1: error: not found: value missing"


@pytest.mark.slow
def test_scala_a_class_of_an_earlier_program_is_not_there(scalac: Compiler) -> None:
    user = SCALA.replace('"ok"', "Helper.x")
    scalac.files("object Helper { val x = 1 }\n" + user, "program.scala")
    assert "not found: value Helper" in scalac.error(user, "program.scala")


@pytest.mark.slow
def test_scala_a_deep_expression_leaves_the_server_working(scalac: Compiler) -> None:
    scalac.ask(SCALA.replace('"ok"', "(" * 20000 + "1" + ")" * 20000), "program.scala")
    assert "Problem.class" in scalac.files(SCALA, "program.scala")


# --- the same verdicts as the plain way --------------------------------------------------------------------------


def cases(folder: Path, code: str) -> list[Any]:
    names = [json.loads(line) for line in (folder / f"{code}.jsonl").read_text().splitlines()]
    # One of each kind always; the others, which take seconds, where slow tests run.
    return [
        pytest.param(
            code, row, id=f"{code}-{folder.name}-{row['name']}", marks=[pytest.mark.slow] * (i > 0 or code == "scala")
        )
        for i, row in enumerate(names)
    ]


def program_of(found: Toolchain, code: str, row: dict[str, str]) -> str:
    path = DATA / f"humaneval-{code}.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is missing")
    task = next(task for task in map(json.loads, path.read_text().splitlines()) if task["name"] == row["name"])
    return programs.assemble(found.language, task["prompt"], row["completion"], task["tests"], task["stop_tokens"])


Execute = Callable[[list[str]], "subprocess.CompletedProcess[str]"]


def executing(folder: Path) -> Execute:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8"}
    return lambda command: subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100
    )


def ending(found: Toolchain, done: subprocess.CompletedProcess[str]) -> tuple[str, str]:
    """Status and first line of the error, as far as it says more than where it was noticed."""
    status = languages.read_exit(found.language, done.returncode, done.stdout, done.stderr)
    first = done.stderr.strip().partition("\n")[0]
    return status, first.removeprefix('Exception in thread "main" ')


def plain_ending(found: Toolchain, program: str, folder: Path) -> tuple[str, str]:
    execute = executing(folder)
    (folder / found.source_name("Problem")).write_text(program)
    for step in found.compile_ways("Problem")[-1]:
        done = execute(step)
        if done.returncode:
            return "compile error", done.stderr.partition("\n")[0]
    return ending(found, execute(found.run_command(MEMORY_MB, "Problem")))


def fast_ending(found: Toolchain, run: list[str], compiler: Compiler, program: str, folder: Path) -> tuple[str, str]:
    kind, message = compiler.ask(program, found.source_name("Problem"))
    if kind == 1:
        return "compile error", message.decode().partition("\n")[0]
    for name, content in compiler.files(program, found.source_name("Problem")).items():
        (folder / name).write_bytes(content)
    return ending(found, executing(folder)([word.replace("{main}", "Problem") for word in run]))


BROKEN = {"name": "HumanEval_53_add", "completion": "        return x + missing;"}
RECURSIVE = {"name": "HumanEval_53_add", "completion": "        return add(x, y) + 1;"}
GREEDY = {"name": "HumanEval_53_add", "completion": "        return new long[1 << 30][2].length;"}


@pytest.mark.parametrize(
    ("code", "row"),
    [
        *cases(SOLUTIONS, "java"),
        *cases(SOLUTIONS / "wrong", "java"),
        *cases(SOLUTIONS, "scala"),
        *cases(SOLUTIONS / "wrong", "scala"),
        pytest.param("java", BROKEN, id="java-compile-error"),
        pytest.param("java", RECURSIVE, id="java-endless-recursion"),
        pytest.param("java", GREEDY, id="java-out-of-memory"),
    ],
)
def test_the_verdict_is_the_plain_ways(
    code: str, row: dict[str, str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    found, overrides = usable(code)
    compiler = request.getfixturevalue({"java": "javac", "scala": "scalac"}[code])
    program = program_of(found, code, row)
    (tmp_path / "plain").mkdir()
    (tmp_path / "fast").mkdir()
    plain = plain_ending(found, program, tmp_path / "plain")
    fast = fast_ending(found, overrides["run"], compiler, program, tmp_path / "fast")
    assert plain[0] == fast[0]
    if plain[0] == "passed":
        return
    assert plain[1] == fast[1]


@pytest.mark.parametrize("code", ["java", pytest.param("scala", marks=pytest.mark.slow)])
def test_a_program_starts_from_the_archive(code: str, tmp_path: Path) -> None:
    _, overrides = usable(code)
    java_program, *flags = overrides["run"]
    log = subprocess.run(
        [java_program, *flags[:-1], "-Xlog:class+load", "-version"], capture_output=True, text=True, cwd=tmp_path
    ).stdout
    loaded = [line for line in log.splitlines() if " source: " in line]
    assert len([line for line in loaded if "shared objects file" in line]) > 0.95 * len(loaded) > 300
