"""The programs of a page: joined without loss or mix-up, packed and unpacked, refused where records do not fit."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fabricated import write_run
from fabricated_evaluation import RANKERS, write_evaluation

from rewardranker.errors import DataError
from rewardranker.report.content import read_content
from rewardranker.report.packing import BLOCK, pack
from rewardranker.report.programs import Program, Programs, ShownTask, failing_test, shown_task, weighted_sums
from rewardranker.types import StdioTest, Task, Verdict


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_evaluation(tmp_path_factory.mktemp("evaluated"))


def unpacked(text: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(text)))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def rewrite(path: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    records = lines(path)
    change(records)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_every_program_keeps_its_verdict_source_and_scores(evaluated: Path) -> None:
    programs = read_content(evaluated).programs
    assert programs is not None
    packed = pack(programs, {}, {}, "codet")
    index, texts = unpacked(packed.index), [text for block in packed.sources for text in unpacked(block)]
    columns = index["programs"]
    found = {
        (index["tasks"][columns["task"][i]]["id"], columns["sample"][i]): (
            texts[columns["text"][i]],
            index["statuses"][columns["status"][i]],
            bool(columns["passed"][i]),
            [scores[i] for scores in index["scores"]],
        )
        for i in range(len(columns["task"]))
    }
    verdicts = {(row["task_id"], row["sample_id"]): row for row in lines(evaluated / "verdicts.jsonl")}
    scores = {
        (row["task_id"], sample, row["ranker"]): score
        for row in lines(evaluated / "rankings.jsonl")
        for sample, score in zip(row["sample_ids"], row["scores"], strict=True)
    }
    samples = lines(evaluated / "samples.jsonl")
    assert len(found) == len(samples) == 96
    for row in samples:
        key = (row["task_id"], row["sample_id"])
        expected = [scores[(*key, name)] for name in RANKERS]
        assert found[key] == (row["program"], verdicts[key]["status"], verdicts[key]["passed"], pytest.approx(expected))
    assert [ranker["key"] for ranker in index["rankers"]] == list(RANKERS)
    assert index["main"] == 1


def test_equal_programs_are_packed_once_and_blocks_end_in_time() -> None:
    task = ShownTask("t", "")
    texts = ["a" * 1000, "b" * BLOCK, "a" * 1000, "c"]
    programs = tuple(Program("p", "t", i, text, "passed", True) for i, text in enumerate(texts))
    packed = pack(Programs((task,), programs), {}, {}, "")
    assert [unpacked(block) for block in packed.sources] == [["a" * 1000], ["b" * BLOCK], ["c"]]
    assert unpacked(packed.index)["programs"]["text"] == [0, 1, 0, 2]


def test_rankers_are_shown_in_the_order_of_the_figures() -> None:
    program = Program("p", "t", 0, "x", "passed", True, scores={"a": 1.0, "b": 2.0, "c": 3.0})
    index = unpacked(pack(Programs((ShownTask("t", ""),), (program,)), {}, {"c": "C", "b": "B"}, "a").index)
    assert [ranker["title"] for ranker in index["rankers"]] == ["C", "B", "a"]
    assert index["scores"] == [[3], [2], [1]]
    assert index["main"] == 2


def test_broken_text_and_infinite_scores_survive() -> None:
    program = Program("p", "t", 0, "x = '\ud800\u2028'", "passed", True, scores={"r": float("-inf"), "s": 1 / 3})
    packed = pack(Programs((ShownTask("t", ""),), (program,)), {}, {}, "")
    assert unpacked(packed.sources[0]) == ["x = '\ud800\u2028'"]
    assert unpacked(packed.index)["scores"] == [[-1e308], [0.3333333]]


@pytest.mark.parametrize(
    ("file", "change", "problem"),
    [
        ("verdicts", lambda rows: rows.pop(5), r"task 'demo/0' sample 5 has no verdict: judge it"),
        ("samples", lambda rows: rows.pop(5), r"task 'demo/0' sample 5 has a verdict but no program"),
        ("tasks", lambda rows: rows.pop(1), r"task 'demo/1' sample 0 is of a task .*\(8 such\)"),
        ("samples", lambda rows: rows.append(rows[0]), r"two samples are of task 'demo/0' sample 0"),
        ("verdicts", lambda rows: rows.append(rows[0]), r"two verdicts are of task 'demo/0' sample 0"),
        ("rankings", lambda rows: rows.append(rows[0]), r"rankings.jsonl: 'mean logprob': .* is ranked twice"),
        ("rankings", lambda rows: rows[0]["scores"].pop(), r"'mean logprob' has 7 scores for the 8 samples"),
        ("rankings", lambda rows: rows[0]["sample_ids"].__setitem__(0, 99), r"sample 99 has a score of 'mean logprob'"),
        ("rankings", lambda rows: rows[0]["scores"].__setitem__(0, float("nan")), r"score of task .* sample 0 is NaN"),
    ],
)
def test_records_that_do_not_fit_are_refused_by_name(
    file: str, change: Callable[[list[dict[str, Any]]], object], problem: str, evaluated: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(evaluated, tmp_path / "copy")
    rewrite(folder / f"{file}.jsonl", change)
    with pytest.raises(DataError, match=problem):
        read_content(folder)


def test_a_cut_off_line_is_named(evaluated: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(evaluated, tmp_path / "copy")
    text = (folder / "samples.jsonl").read_text()
    (folder / "samples.jsonl").write_text(text[:-20])
    with pytest.raises(DataError, match=r"samples.jsonl:96: broken JSON"):
        read_content(folder)


def test_rankings_may_lie_in_files_of_their_own(evaluated: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(evaluated, tmp_path / "copy")
    rows = lines(folder / "rankings.jsonl")
    (folder / "rankings.jsonl").unlink()
    (folder / "rankings").mkdir()
    for number, name in enumerate(RANKERS):
        own = [json.dumps(row) + "\n" for row in rows if row["ranker"] == name]
        (folder / "rankings" / f"{number}.jsonl").write_text("".join(own))
    assert read_content(folder).programs == read_content(evaluated).programs


def test_records_are_found_where_the_inputs_say(evaluated: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(evaluated, tmp_path / "copy")
    (tmp_path / "elsewhere").mkdir()
    (folder / "samples.jsonl").rename(tmp_path / "elsewhere" / "drawn.jsonl")
    missing = read_content(folder)
    assert missing.programs is None
    assert "samples.jsonl not found" in missing.missing
    document = json.loads((folder / "evaluation.json").read_text())
    document["inputs"] = {"samples": str(tmp_path / "elsewhere" / "drawn.jsonl")}
    (folder / "evaluation.json").write_text(json.dumps(document))
    assert read_content(folder).programs == read_content(evaluated).programs


def test_a_run_s_programs_come_from_its_records_with_tokens_as_cost(evaluated: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    records = run / "evaluation" / "sft"
    records.mkdir(parents=True)
    (run / "tasks").mkdir()
    shutil.copy(evaluated / "tasks.jsonl", run / "tasks" / "evaluation.jsonl")
    samples = [
        row | {"token_ids": [1] * 10, "token_logprobs": [-0.5] * 10} for row in lines(evaluated / "samples.jsonl")
    ]
    (records / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in samples))
    shutil.copy(evaluated / "verdicts.jsonl", records)
    scores = [{"task_id": row["task_id"], "sample_id": row["sample_id"], "reward-2": 1.5} for row in samples]
    (records / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in scores))
    figures = json.loads((run / "evaluation.json").read_text())
    figures["populations"][0]["sums"] = {"reward-2+logprob": {"reward-2": 2.0}}
    (run / "evaluation.json").write_text(json.dumps(figures))
    content = read_content(run)
    assert content.programs is not None
    assert len(content.programs.programs) == 96
    assert content.programs.programs[0].scores == {"logprob": -0.5, "reward-2": 1.5, "reward-2+logprob": 3.0}
    assert content.missing == "The records of policy, round 1, policy, round 2 are not in the folder."
    sft, policy = content.evaluation.populations[:2]
    curve = next(ranker.curve for ranker in sft.rankers if ranker.key == "oracle")
    assert [point.tokens for point in curve] == [10.0 * point.n for point in curve]
    assert all(point.tokens is None for ranker in policy.rankers for point in ranker.curve)


def test_a_sum_is_a_column_where_its_parts_are() -> None:
    scores = {"a": {("t", 0): 1.0, ("t", 1): 2.0}, "b": {("t", 0): 10.0}}
    sums = {"a+b": {"a": 0.5, "b": 2.0}, "a+c": {"a": 1.0, "c": 1.0}}
    assert weighted_sums(scores, sums) == {"a+b": {("t", 0): 20.5}}


def test_the_failing_test_is_the_first_that_does_not_hold() -> None:
    verdict = Verdict("t", 0, False, "wrong answer", outcomes="1-0-0")
    asserts = Task("t", "", tests=("a", "b", "c", "d", "e"))
    inputs = Task("t", "", inputs=tuple(StdioTest(f"in {i}", f"out {i}") for i in range(5)))
    assert failing_test(asserts, verdict) == "c"
    assert failing_test(inputs, verdict) == "input:\nin 2\nexpected:\nout 2"
    assert failing_test(Task("t", "", tests="def check(f): ..."), verdict) == "test 3 of 5"
    assert failing_test(asserts, Verdict("t", 0, True, "passed", outcomes="11111")) == ""


def test_a_reference_that_repeats_the_prompt_is_not_doubled() -> None:
    prompt = "def f(x):\n    "
    assert shown_task(Task("t", prompt, reference="return x")).reference == prompt + "return x"
    assert shown_task(Task("t", prompt, reference=prompt + "return x")).reference == prompt + "return x"
