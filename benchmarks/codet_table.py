"""CodeT's table on CodeT's own files: rankers by execution on 100 CodeGen-16B programs for each HumanEval task.

    python benchmarks/codet_table.py --data ../shared/data/codet --output runs/codet [--tasks 5] [--workers 2]

Published for these files: CodeT 36.7 % pass@1, any of 100 73.7 % (arXiv 2207.10397, table 2). The folder needs
`humaneval_codegen16b_code_solution.jsonl`, `humaneval_codegen16b_test_case.jsonl` and
`humaneval_for_code_generation.jsonl` of microsoft/CodeT (MIT). A second call goes on with the files in the
output folder. The table is also left there, and in results/codet.json.

What differs from CodeT's own run: the isolated judge decides, a program's tests have CPU seconds together (theirs: 0.1
s a test), and tests are read more strictly (`ranking.generated_tests`).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from rewardranker.calling import run_calls_to_file
from rewardranker.config import EvaluationOptions, JudgeOptions
from rewardranker.evaluation import Evaluation, evaluate
from rewardranker.executing import judge_generated_tests, usable_tests
from rewardranker.execution import judge_to_file, open_judge
from rewardranker.progress import Progress
from rewardranker.ranking.by_tests import B4, CodeT, MaxPass, TestOutcomes
from rewardranker.ranking.generated_tests import STOP, GeneratedTests, extract_calls, extract_tests
from rewardranker.ranking.outputs import MBR, Majority, OutputTable, ProgramOutputs, SRank
from rewardranker.ranking.rankers import Shortest
from rewardranker.runs import RecordLog, read_records, write_json, write_text
from rewardranker.types import Judge, Sample, Task, Verdict

RESULT = Path(__file__).parent / "results" / "codet.json"


def main() -> None:
    options = parse()
    started = time.monotonic()
    folder: Path = options.output
    folder.mkdir(parents=True, exist_ok=True)
    progress = Progress()
    tasks, samples, texts = load(options.data, options.tasks, options.samples)
    with open_judge(JudgeOptions(timeout=options.timeout), options.workers) as judge:
        progress.begin("real tests")
        judge_to_file(tasks, samples, folder / "verdicts.jsonl", judge, progress)
    with open_judge(JudgeOptions(timeout=options.generated_timeout), options.workers) as judge:
        tests = generated(tasks, texts, folder / "tests.jsonl", judge)
        progress.begin("generated tests")
        judge_generated_tests(tasks, samples, tests, folder / "test_verdicts.jsonl", judge, progress, options.restarts)
        entry = {task.task_id: task.entry_point or "" for task in tasks}
        calls = {row.task_id: extract_calls(row, entry[row.task_id], options.calls) for row in tests}
        progress.begin("outputs")
        run_calls_to_file(tasks, samples, calls, folder / "outputs.jsonl", judge, progress)
    table(folder, tasks, samples, tests, calls, options, time.monotonic() - started)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/codet"))
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--tasks", type=int, help="only the first so many tasks")
    parser.add_argument("--samples", type=int, default=100, help="programs a task")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--timeout", type=float, default=3.0, help="CPU seconds of a program on the real tests")
    parser.add_argument("--generated-timeout", type=float, default=1.0, help="the same, on generated tests and calls")
    parser.add_argument("--restarts", type=int, default=5, help="goes on behind so many tests that end a program")
    parser.add_argument("--calls", type=int, default=50, help="inputs a task on which outputs are compared")
    return parser.parse_args()


def load(data: Path, tasks: int | None, samples: int) -> tuple[list[Task], list[Sample], dict[str, list[str]]]:
    """Tasks in CodeT's order, programs cut at CodeT's stop texts, and for each task the texts written as tests."""
    rows = read(data / "humaneval_for_code_generation.jsonl")[:tasks]
    programs = {row["prompt"]: row["samples"] for row in read(data / "humaneval_codegen16b_code_solution.jsonl")}
    written = read(data / "humaneval_codegen16b_test_case.jsonl")
    loaded, drawn, texts = [], [], {}
    for row in rows:
        task = Task(row["task_id"], row["prompt"], entry_point=row["entry_point"], tests=row["test"])
        loaded.append(task)
        for number, text in enumerate(programs[task.prompt][:samples]):
            completion = text
            for stop in STOP:
                completion = completion.split(stop)[0]
            drawn.append(
                Sample(task.task_id, number, text, completion, task.prompt + completion, model="codegen-16B-mono")
            )
        found = [other for other in written if other["prompt"].startswith(task.prompt.rstrip())]
        assert len(found) == 1, f"{len(found)} rows of tests for {task.task_id}"
        texts[task.task_id] = found[0]["samples"]
    return loaded, drawn, texts


def read(path: Path) -> list[dict[str, Any]]:
    with path.open() as file:
        return [json.loads(line) for line in file]


def generated(tasks: list[Task], texts: dict[str, list[str]], path: Path, judge: Judge) -> list[GeneratedTests]:
    """Tests of each task, each tried once on a program that returns None."""
    with RecordLog(path, GeneratedTests) as log:
        known = list(log.read())
        assert [row.task_id for row in known] == [task.task_id for task in tasks[: len(known)]], f"{path}: other tasks"
        for task in tasks[len(known) :]:
            found = extract_tests(task.task_id, texts[task.task_id], task.entry_point or "")
            known.append(usable_tests(task, found, judge))
            log.append(known[-1:])
    return known


def table(
    folder: Path,
    tasks: list[Task],
    samples: list[Sample],
    tests: list[GeneratedTests],
    calls: dict[str, tuple[str, ...]],
    options: argparse.Namespace,
    seconds: float,
) -> None:
    """Print the table, and leave it in the folder as Markdown and JSON."""
    outcomes = TestOutcomes(tests, read_records(folder / "test_verdicts.jsonl", Verdict))
    rows = list(read_records(folder / "outputs.jsonl", ProgramOutputs))
    done = {row.task_id for row in rows}
    # A task without calls says nothing: all its programs tie.
    rows += [ProgramOutputs(s.task_id, s.sample_id, (), (), 0) for s in samples if s.task_id not in done]
    outputs = OutputTable(rows)
    rankers = [
        Shortest(),
        MaxPass(outcomes),
        CodeT(outcomes),
        CodeT(outcomes, root=False, name="codet (product)"),
        B4(outcomes, beta=1e4, name="b4 (beta 1e4)"),
        B4(outcomes, beta=1e5, name="b4 (beta 1e5)"),
        B4(outcomes, beta=1e6, name="b4 (beta 1e6)"),
        Majority(outputs),
        MBR(outputs),
        SRank(outputs, outcomes),
    ]
    verdicts = list(read_records(folder / "verdicts.jsonl", Verdict))
    found = evaluate(tasks, samples, verdicts, rankers, EvaluationOptions(n=options.samples), baselines=["codet"])
    write_json(folder / "table.json", found.to_record())
    if options.tasks is None:
        write_json(RESULT, summary(found))
    last = {row.ranker: row for row in found.rows}.values()  # of each ranker's curve the figure at the largest n
    drawn = sum(sum(row.counts) for row in tests)
    lines = [
        f"{len(tasks)} tasks x {options.samples} programs; {drawn} generated tests, "
        f"{sum(len(row.tests) for row in tests)} distinct, {sum(not row.tests for row in tests)} tasks without; "
        f"{sum(map(len, calls.values()))} inputs; {seconds:.0f} s in this call",
        "",
        f"| best of {options.samples} by | % passed | 95 % interval | published |",
        "|---|---|---|---|",
    ]
    published = {"codet": "36.7", "oracle": "73.7"}
    for row in last:
        interval = f"{100 * row.low:.1f} to {100 * row.high:.1f}"
        lines.append(f"| {row.ranker} | {100 * row.mean:.1f} | {interval} | {published.get(row.ranker, '')} |")
    lines += ["", "| difference | points | 95 % interval | p |", "|---|---|---|---|"]
    for d in found.differences:
        interval = f"{100 * d.low:+.1f} to {100 * d.high:+.1f}"
        lines.append(f"| {d.ranker} - {d.baseline} | {100 * d.mean:+.1f} | {interval} | {d.p_value:.2g} |")
    text = "\n".join(lines) + "\n"
    write_text(folder / "table.md", text)
    print(text, end="")


def summary(found: Evaluation) -> dict[str, Any]:
    """What a table shows, without the figures of single tasks."""
    document = found.to_record()
    kept = ("tasks", "n", "confidence", "bootstrap", "seed", "rows", "differences", "quality", "costs", "methods")
    return {name: document[name] for name in kept}


if __name__ == "__main__":
    main()
