"""What judging takes besides time: memory of a worker by language, and CPU, memory and disk of `rewardranker judge`.

    python benchmarks/judge_costs.py [--data ../shared/data] [--rows 100000]
        [--output benchmarks/results/judge_costs.json]

* Memory is the proportional set size (pages that processes share are divided among them) of one worker with everything
  below it, after it has judged its language's programs and is idle, and the most that was seen while it was at work.
* A program that is run costs this process the handing over and taking back: its own CPU while it judges, without files.
* The command gets HumanEval's solutions over and over. Equal programs are run once, so what a further row costs is
  reading, recognising and writing it. `judge.py --scale` has the memory with programs that all differ.
* The verdict cache gets distinct programs; its file is divided by their number.

Takes half a minute. `judge.py` says what `--data` needs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from judge import CODES, ROOT, TIMEOUT, Pair, distinct, humaneval, multipl_e

from rewardranker.config import JudgeOptions
from rewardranker.execution import ProgramJudge

CACHED = 1000
"""Distinct programs that the verdict cache gets."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    results: dict[str, Any] = {"worker_mb": {}}
    print("| a worker that judged | MB idle | MB at most |\n|---|---|---|")
    for language in ("python", *CODES):
        pairs = humaneval(options.data) if language == "python" else multipl_e(options.data, CODES[language])
        found = results["worker_mb"][language] = worker_memory(pairs)
        print(f"| {language} | {found['idle']} | {found['most']} |", flush=True)
    results["command"] = command(humaneval(options.data), options.rows)
    print("\n| `rewardranker judge` | |\n|---|---|")
    for name, value in results["command"].items():
        print(f"| {name} | {value} |")
    if options.output:
        options.output.write_text(json.dumps(results, indent=1) + "\n")


# --- a worker -----------------------------------------------------------------------------------------------------


def worker_memory(pairs: list[Pair]) -> dict[str, int]:
    """Megabytes of a worker and all below it."""
    seen: list[float] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            seen.append(memory_below(os.getpid()))

    with ProgramJudge(JudgeOptions(timeout=TIMEOUT), workers=1) as judge:
        watcher = threading.Thread(target=watch)
        watcher.start()
        for verdict in judge.judge(pairs):
            if not verdict.passed:
                raise SystemExit(f"a correct program failed: {verdict.task_id}: {verdict.status}: {verdict.detail}")
        done.set()
        watcher.join()
        idle = memory_below(os.getpid())
    return {"idle": round(idle), "most": round(max([idle, *seen]))}


def memory_below(root: int) -> float:
    """Megabytes of all processes below this one, shared pages divided among those that share them."""
    parents = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            parents[int(entry)] = int(Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    below = {root}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return sum(map(megabytes, below - {root}))


def megabytes(pid: int) -> float:
    try:
        lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def handing_over(pairs: list[Pair]) -> float:
    """CPU milliseconds of this process for a program."""
    with ProgramJudge(JudgeOptions(timeout=TIMEOUT), workers=1) as judge:
        list(judge.judge(pairs))
        start = time.process_time()
        list(judge.judge(pairs))
        return round((time.process_time() - start) / len(pairs) * 1000, 3)


# --- the command --------------------------------------------------------------------------------------------------


def command(pairs: list[Pair], rows: int) -> dict[str, float]:
    """What `rewardranker judge` takes for rows that differ little and for many that don't differ."""
    with tempfile.TemporaryDirectory() as folder:
        few = run_command(Path(folder), pairs, len(pairs))
        many = run_command(Path(folder), pairs, rows)
        cache = Path(folder, "cache.sqlite")
        run_command(Path(folder), list(distinct(pairs, CACHED)), CACHED, ["--cache", str(cache)])
        disk = sum(file.stat().st_size for file in Path(folder).glob("cache.sqlite*"))
    return {
        "rows": rows,
        "CPU ms of the process that hands a program to a worker": handing_over(pairs),
        "CPU ms for a further row that is equal to an earlier one": round(
            (many[0] - few[0]) / (rows - len(pairs)) * 1000, 3
        ),
        f"MB with {len(pairs)} rows": round(few[1]),
        f"MB with {rows} rows": round(many[1]),
        "bytes in the cache for a verdict": round(disk / CACHED),
    }


def run_command(folder: Path, pairs: list[Pair], rows: int, words: list[str] | None = None) -> tuple[float, float]:
    """CPU seconds of the command with its workers, and the most megabytes that one of its processes took."""
    programs, verdicts = folder / "programs.jsonl", folder / "verdicts.jsonl"
    verdicts.unlink(missing_ok=True)
    with programs.open("w") as file:
        for number in range(rows):
            task, sample = pairs[number % len(pairs)]
            row = {"task_id": task.task_id, "language": "python", "prompt": "", "completion": sample.program}
            file.write(json.dumps({**row, "tests": task.tests, "entry_point": task.entry_point}) + "\n")
    line = [sys.executable, "-m", "rewardranker", "judge", str(programs), "--output", str(verdicts), "--workers", "1"]
    with subprocess.Popen([*line, *(words or [])], stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"rewardranker judge ended with exit status {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
