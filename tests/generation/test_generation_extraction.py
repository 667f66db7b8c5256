"""Code in chat answers, and the programs made of it."""

import textwrap

import pytest

from rewardranker.generation import assemble_program, extract_code
from rewardranker.types import Task

F = "def f(x):\n    return x + 1"
G = "def g(x):\n    return x"

EXTRACTIONS = {
    "python fence with prose": (f"Sure! Here it is:\n```python\n{F}\n```\nThis adds one.", "f", F),
    "py fence": (f"```py\n{F}\n```", "f", F),
    "upper-case and attributes": (f"```Python title='a.py'\n{F}\n```", "f", F),
    "fence without a language": (f"```\n{F}\n```", "f", F),
    "tilde fence": (f"~~~python\n{F}\n~~~", "f", F),
    "longer fence with a shorter one inside": (f'````python\n{F}\n"""\n```\n"""\n````', "f", f'{F}\n"""\n```\n"""'),
    "unclosed fence": (f"Here:\n```python\n{F}", "f", F),
    "windows line ends": (f"```python\n{F}\n```".replace("\n", "\r\n"), "f", F),
    "indented fence in a list": ("1. First:\n" + textwrap.indent(f"```python\n{F}\n```", "   "), "f", F),
    "entry point before a longer block": (f"```python\n{F}\n```\n```python\n{G}\n\n\n{G}2\n```", "f", F),
    "entry point in an async def": (f"```\nasync {F}\n```\n```\nx = 1234567\ny = 1234567\n```", "f", f"async {F}"),
    "the last of two definitions": (f"Draft:\n```python\n{F}00\n```\nFixed:\n```python\n{F}\n```", "f", F),
    "a definition that parses, not a broken one": (f"```python\n{F}\n```\n```python\ndef f(x:\n  oops\n```", "f", F),
    "usage example calls it only": (
        f"```python\n{F}\n```\nUsage:\n```python\nprint(f(1))\nprint(f(2222222222))\n```",
        "f",
        F,
    ),
    "doctest block": (f"```python\n>>> f(1)\n2\n>>> f(22222222222)\n3\n```\n```python\n{F}\n```", "f", F),
    "doctest block first, no entry point known": (f"```python\n>>> f(1)\n2\n```\n```python\n{F}\n```", None, F),
    "shell and output blocks": (
        f"```bash\npip install some-long-package-name\n```\n```\n{F}\n```\n```text\n2\n```",
        None,
        F,
    ),
    "no entry point: the longest that parses": (
        f"```\n{F}\n```\n```\n{G}{G}{G} (\n```\n```\n{F}0000\n```",
        None,
        F + "0000",
    ),
    "definitions before longer statements": (f"```\n{F}\n```\n```\nprint({'1' * 60})\n```", None, F),
    "no fence: only code": (F, "f", F),
    "no fence: prose around": (f"Sure, here is the function you want:\n\n{F}\n\nIt adds one.", "f", F),
    "no fence: imports first": (f"Here:\nimport math\n\n{F}\nHope it helps!", "f", f"import math\n\n{F}"),
    "no fence: the run that defines it": (f"{G}\n{G}2\nThat was a helper. Now:\n{F}\nDone!", "f", F),
    "no fence: a bare body": ("    y = x\n    return y", "f", "    y = x\n    return y"),
    "fenced body keeps its indentation": ("```python\n    y = x\n    return y\n```", "f", "    y = x\n    return y"),
    "only a closing fence": (f"{F}\n```", "f", F),
    "prose only": ("I can't solve this.", "f", "I can't solve this."),
    "empty": ("", "f", ""),
    "empty fence": ("```python\n```", "f", ""),
}


@pytest.mark.parametrize(("answer", "entry_point", "expected"), EXTRACTIONS.values(), ids=EXTRACTIONS)
def test_extracted_code(answer, entry_point, expected):
    assert extract_code(answer, entry_point) == expected


def test_other_languages():
    cpp = "#include <vector>\nint add(int a, int b) {\n  return a + b;\n}"
    usage = "int main() {\n  int a_long_name = add(1, 2);\n  assert(add(1, 2) == 3);\n  return add(2, 3);\n}"
    answer = f"Code:\n```cpp\n{cpp}\n```\nUse it so:\n```cpp\n{usage}\n```"
    assert extract_code(answer, "add", "cpp") == cpp
    js = "const add = (a, b) => a + b;"
    assert extract_code(f"```js\nconsole.log(add(1, 2), add(3, 4));\n```\n```js\n{js}\n```", "add", "js") == js
    assert extract_code("import fs;\nfoo {", None, "js") == "import fs;\nfoo {"


PROMPT = 'from typing import List\n\n\ndef f(xs: List[int]) -> int:\n    """Sum."""\n'
HELPER = "import math\n\nLIMIT = 3\n\n\ndef half(x):\n    return x / 2\n\n\ndef f(x):\n"


def run_f(program, argument):
    namespace = {}
    exec(compile(program, "<program>", "exec"), namespace)
    return namespace["f"](argument)


ANSWERS = {
    "whole function": "def f(xs: List[int]) -> int:\n    return sum(xs)",
    "whole function with its imports": "from typing import List\ndef f(xs: List[int]) -> int:\n    return sum(xs)",
    "future import first": "from __future__ import annotations\ndef f(xs: List[int]) -> int:\n    return sum(xs)",
    "body": "    t = sum(xs)\n    return t",
    "body without its indentation": "t = sum(xs)\nreturn t",
    "body whose first line lost it": "t = sum(xs)\n    return t",
    "body indented too deep": "        t = sum(xs)\n        return t",
    "body with a nested block": "t = 0\nfor x in xs:\n    t += x\nreturn t",
}


@pytest.mark.parametrize("code", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("prompt", [PROMPT, PROMPT.rstrip("\n")], ids=["newline", "no newline"])
def test_programs_of_whole_functions_and_of_bodies_work(prompt, code):
    assert run_f(assemble_program(Task("t", prompt, entry_point="f"), code), [1, 2, 4]) == 7


def test_helpers_and_constants_of_the_prompt_are_kept():
    program = assemble_program(Task("t", HELPER, entry_point="f"), "def f(x):\n    return math.floor(half(x)) + LIMIT")
    assert run_f(program, 5) == 5


def test_what_the_code_defines_itself_is_not_added():
    code = "import math\nLIMIT = 10\ndef half(x):\n    return x\ndef f(x):\n    return half(x) + LIMIT"
    assert assemble_program(Task("t", HELPER, entry_point="f"), code) == code


def test_prose_prompts_are_not_part_of_the_program():
    task = Task("t", "Write a function f that adds one.", entry_point="f")
    assert assemble_program(task, "def f(x):\n    return x + 1") == "def f(x):\n    return x + 1"
    assert assemble_program(task, "print(1)") == "print(1)"
    assert assemble_program(Task("t", "Read n, print n + 1."), "print(int(input()) + 1)") == "print(int(input()) + 1)"


def test_method_body_is_indented_below_its_def():
    prompt = "class A:\n    def value(self):\n"
    program = assemble_program(Task("t", prompt, entry_point="value"), "return 3")
    assert program == prompt + "        return 3"


def test_other_languages_keep_the_prompts_directives():
    task = Task("t", "#include <vector>\nint add(int a, int b) {\n", language="cpp", entry_point="add")
    whole = "int add(int a, int b) {\n  return a + b;\n}"
    assert assemble_program(task, whole) == "#include <vector>\n" + whole
    assert assemble_program(task, "  return a + b;\n}") == task.prompt + "  return a + b;\n}"
