"""Programs for function tasks in many languages, from chat answers: judged where the toolchain is here."""

from __future__ import annotations

import re

import pytest
from chat_answers import CLUTTERED

from rewardranker.config import JudgeOptions
from rewardranker.execution import ProgramJudge, languages
from rewardranker.execution.language_examples import EXAMPLES
from rewardranker.generation import assemble_program, extract_code
from rewardranker.types import Sample, Task

STOPS = {
    **dict.fromkeys(("cpp", "rs", "sh", "swift"), ("\n}",)),
    **dict.fromkeys(("java", "cs", "scala"), ("\n    }\n",)),
    "js": ("\nfunction ", "\n/*", "\n//", "\nconsole.log"),
    "ts": ("\nfunction ", "\n/*", "\n//", "\nclass"),
    "php": ("\nfunction", "\n?>", "\n//", "\n#"),
    "go": ("\nfunc", "struct", "\n// "),
    "rb": ("\nclass", "\ndef", "\n#", "\n\n"),
    "lua": ("\nlocal", "\nfunction", "\n--", "\n\n"),
    "pl": ("\nsub", "\n#", "\n\n"),
    "r": ("\n#", "\n```"),
    "rkt": ("\n(define ", "\n#|", "\n;", "\n("),
    "d": ("\n\n", "\nvoid", "\nbool", "\nint"),
    "jl": ("\nfunction", "\nmacro", "\n\n"),
}
"""MultiPL-E's stop tokens."""
OTHERS = [code for code in EXAMPLES if code != "py"]
TESTS_CLOSE = [code for code in OTHERS if EXAMPLES[code].tests.lstrip().startswith("}")]


def task_in(code: str) -> Task:
    """The example as the loader of MultiPL-E gives it: no white space at the prompt's end."""
    prompt, _, _, tests = EXAMPLES[code]
    entry_point = "Largest" if code == "cs" else "largest"
    return Task(code, prompt.rstrip(), languages.find(code).name, entry_point, tests, stop=STOPS[code])


def program_of(code: str, answer: str) -> str:
    task = task_in(code)
    return assemble_program(task, extract_code(answer, task.entry_point, task.language))


def whole_answer(code: str, completion: str) -> str:
    """Prompt and completion with all brackets closed, fenced, with prose around."""
    closing = {"}": "\n    }\n}" if code in ("java", "cs", "scala") else "\n}"}
    ending = closing["}"] if code in TESTS_CLOSE else ""
    return f"Sure:\n\n```{code}\n{EXAMPLES[code].prompt.rstrip()}\n{completion}{ending}\n```\n\nHope that helps!"


def words(program: str) -> str:
    return re.sub(r"\s+", " ", program).strip()


@pytest.fixture(scope="module")
def judge():
    with ProgramJudge(JudgeOptions(timeout=10), workers=1) as judge:
        yield judge


def status(judge: ProgramJudge, code: str, program: str) -> str:
    found = languages.toolchain(languages.find(code))
    if found is None or found.lacking:
        pytest.skip(languages.install_hint(languages.find(code)))
    verdict = next(judge.judge([(task_in(code), Sample(code, 0, "", "", program))]))
    return f"{verdict.status} {verdict.detail}".strip() if not verdict.passed else "passed"


@pytest.mark.parametrize("code", CLUTTERED)
def test_a_right_answer_with_helpers_examples_and_main_passes(code, judge):
    program = program_of(code, CLUTTERED[code])
    assert status(judge, code, program) == "passed", program


@pytest.mark.parametrize("code", ["cpp", "js", "rb", "sh"])
def test_a_wrong_answer_fails_as_wrong_answer_not_as_compile_error(code, judge):
    program = program_of(code, whole_answer(code, EXAMPLES[code].wrong))
    assert status(judge, code, program).startswith("wrong answer"), program


@pytest.mark.parametrize("code", OTHERS)
def test_the_prompt_written_out_whole_is_prompt_and_completion(code):
    example = EXAMPLES[code]
    program = program_of(code, whole_answer(code, example.right))
    assert words(program) == words(example.prompt + example.right)


@pytest.mark.parametrize("code", OTHERS)
def test_a_body_alone_continues_the_prompt(code):
    example = EXAMPLES[code]
    assert words(program_of(code, f"```\n{example.right}\n```")) == words(example.prompt + example.right)


@pytest.mark.parametrize("code", TESTS_CLOSE)
def test_a_body_that_closes_the_function_is_cut_there(code):
    example = EXAMPLES[code]
    body = f"```\n{example.right}\n}}\n\nunrelated {{ }}\n```"
    assert words(program_of(code, body)) == words(example.prompt + example.right)


@pytest.mark.parametrize("code", ["cpp", "rs", "sh"])
def test_brackets_that_do_not_match_end_at_the_stop_text(code):
    example = EXAMPLES[code]
    answer = f"```\n{example.prompt}{example.right}\n}}\n\nrest (((( {{{{\n```"
    assert words(program_of(code, answer)) == words(example.prompt + example.right)


def test_parameters_of_other_names_keep_the_answers_signature():
    program = program_of("cpp", "```cpp\nlong largest(std::vector<long> v) {\n    return v[0];\n}\n```")
    assert (
        program == "#include<assert.h>\n#include<bits/stdc++.h>\nlong largest(std::vector<long> v) {\n    return v[0];"
    )


def test_other_types_for_the_same_parameters_give_way_to_the_prompts():
    program = program_of(
        "cpp", "```cpp\nint largest(const std::vector<int> &numbers) {\n    return numbers[0];\n}\n```"
    )
    assert program == EXAMPLES["cpp"].prompt.rstrip() + "\n    return numbers[0];"


def test_a_method_without_its_class_is_put_into_the_prompts():
    answer = "```java\npublic static long largest(ArrayList<Long> numbers) {\n    return numbers.get(0);\n}\n```"
    assert program_of("java", answer) == EXAMPLES["java"].prompt.rstrip() + "\n    return numbers.get(0);"


def test_helpers_of_the_prompt_are_not_repeated():
    helper = "struct Both {\n    long a;\n    long b;\n};\n"
    prompt = f"#include<vector>\n{helper}// The sum.\nlong sum(Both both) {{"
    task = Task("t", prompt, "cpp", "sum", "}\nint main() {}\n", stop=("\n}",))
    answer = f"#include<vector>\n{helper}\nlong sum(Both both) {{\n    return both.a + both.b;\n}}"
    assert assemble_program(task, answer) == prompt + "\n    return both.a + both.b;"


def test_an_expression_in_place_of_a_body_is_returned():
    answer = "```cs\nclass Problem {\n    public static long Largest(List<long> numbers) => numbers[0];\n}\n```"
    assert program_of("cs", answer) == EXAMPLES["cs"].prompt.rstrip() + " return numbers[0];"


def test_a_blank_line_in_a_body_is_no_end():
    body = "    local best = 0\n\n    return best\nend"
    assert program_of("lua", f"```lua\n{body}\n```") == EXAMPLES["lua"].prompt + body


def test_c_helpers_that_call_the_function_find_it_declared():
    code = "```cpp\nlong twice(long n);\nlong largest(std::vector<long> numbers) {\n    return twice(1);\n}\n"
    program = program_of("cpp", code + "long twice(long n) { return largest({}); }\n```")
    assert program.index("long largest(std::vector<long> numbers);") < program.index("return largest({})")


def test_a_block_marked_bash_is_a_program_of_a_bash_task():
    assert "local best" in program_of("sh", CLUTTERED["sh"] + "\n```text\nlargest() { a long line of no program }\n```")


def test_a_type_that_ends_in_a_parenthesis():
    prompt = "import std.typecons;\nTuple!(long, long) ends(long[] numbers)"
    task = Task("t", prompt, "d", "ends", "unittest\n{\n}\nvoid main(){}", stop=("\n\n",))
    body = "{\n    return tuple(numbers[0], numbers[$ - 1]);\n}"
    assert assemble_program(task, f"{prompt}\n{body}\n\nvoid main() {{\n}}") == f"{prompt}\n{body}"
