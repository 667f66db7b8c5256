"""MultiPL-E rows become tasks that the judge of languages decides as MultiPL-E would."""

import json
from pathlib import Path

import pytest
from task_world import judged, rows_file

from rewardranker.config import JudgeOptions
from rewardranker.errors import ConfigError, DataError
from rewardranker.execution import ProgramJudge
from rewardranker.execution.language_table import LANGUAGES as JUDGED
from rewardranker.tasks import load_tasks
from rewardranker.tasks.multipl_e import LANGUAGES, function_of_prompt, multipl_e_task
from rewardranker.types import Sample

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "multipl-e"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"MultiPL-E's files are not in {DATA}")

ROW = {
    "name": "mbpp_900_halve",
    "language": "sh",
    "prompt": "#!/bin/bash\n# Halve a number.\n#\n# $1 is an integer\nhalve() {\n",
    "doctests": "transform",
    "original": "/somewhere/mbpp_900_halve.py",
    "prompt_terminology": "reworded",
    "tests": '}\n\ncandidate() {\n    halve "$@"\n}\n\nset -e\n'
    '[[ $(candidate "8") = "4" ]]\n[[ $(candidate "3") = "1" ]]\n',
    "stop_tokens": ["\n}"],
}


@needs_data
@pytest.mark.parametrize("code", sorted(set(LANGUAGES) - {"py"}))
def test_every_language_of_the_reference_data_is_read(code):
    file = DATA / f"humaneval-{code}.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    tasks = load_tasks(f"multipl-e:humaneval-{code}:{file}")
    assert len(tasks) == len(rows)
    for task, row in zip(tasks, rows, strict=True):
        assert task.language == LANGUAGES[code]
        assert (task.tests, list(task.stop)) == (row["tests"], row["stop_tokens"])
        assert row["prompt"].startswith(task.prompt)
        assert task.entry_point in task.tests  # every translation's tests name the function


@needs_data
def test_python_rows_follow_openais_schema():
    tasks = load_tasks(f"multipl-e:humaneval-py:{DATA / 'humaneval-python.jsonl'}")
    assert len(tasks) == 164
    for task in tasks[:8]:
        assert judged(task, task.prompt + task.reference).passed
        assert not judged(task, task.prompt + "\n    return None\n").passed


def test_names_of_languages_are_the_judges():
    assert {language.code: language.name for language in JUDGED} == LANGUAGES


def test_a_row_is_decided_by_its_tests(tmp_path):
    (task,) = load_tasks(f"multipl-e:mbpp-sh:{rows_file(tmp_path, [ROW])}")
    assert (task.task_id, task.language, task.entry_point) == ("multipl-e/mbpp-sh/mbpp_900_halve", "bash", "halve")
    right, wrong = (task.prompt + f"\n    echo $(($1 / {n}))" for n in (2, 3))
    with ProgramJudge(JudgeOptions(timeout=5), workers=1) as judge:
        items = [(task, Sample(task.task_id, i, "", "", program)) for i, program in enumerate((right, wrong))]
        assert [verdict.passed for verdict in judge.judge(items)] == [True, False]


@pytest.mark.parametrize(
    ("language", "prompt", "name"),
    [
        ("csharp", "class Problem {\n    public static long Strlen(string str) {\n", "Strlen"),
        ("racket", ";; f\n(define (below-zero operations)\n", "below-zero"),
        ("perl", "sub add {\n    my($lst) = @_;\n", "add"),
        ("r", "# f(1)\nadd <- function(lst) {", "add"),
        ("rust", "fn first<T>(xs: Vec<T>) -> isize {\n", "first"),
        ("cpp", "// f(x)\n", None),
    ],
)
def test_the_function_is_found_in_the_prompt(language, prompt, name):
    if name is None:
        prompt = "// nothing\n"
    assert function_of_prompt(prompt, language) == name


def test_a_row_of_another_language_is_refused():
    with pytest.raises(DataError, match="column 'language' is 'sh', but the tasks asked for are 'cpp'"):
        multipl_e_task(ROW, "f:1", "mbpp", "cpp")


def test_a_missing_column_is_named_with_its_place(tmp_path):
    file = rows_file(tmp_path, [{key: value for key, value in ROW.items() if key != "stop_tokens"}])
    with pytest.raises(DataError, match=r"rows\.jsonl:1: column 'stop_tokens' is missing"):
        load_tasks(f"multipl-e:mbpp-sh:{file}")


def test_a_row_without_tests_is_refused():
    with pytest.raises(DataError, match="'tests' is empty"):
        multipl_e_task({**ROW, "tests": " "}, "f:1", "mbpp", "sh")


@pytest.mark.parametrize("variant", ["", "cpp", "apps-cpp", "humaneval-"])
def test_an_unknown_configuration_is_refused(variant):
    with pytest.raises(ConfigError, match="humaneval-LANGUAGE"):
        load_tasks(f"multipl-e:{variant}")


def test_python_is_not_on_the_hub():
    with pytest.raises(ConfigError, match="not on the hub"):
        load_tasks("multipl-e:humaneval-py")
