"""Adaptive best-of-n beside fixed n, on two generators of a finished run: `python benchmarks/adaptive.py RUN`.

The rule is fitted on validation tasks and measured on others (`--measure-on`, by default synthetic tasks of the split
`test`), with `rewardranker calibrate`. Samples and verdicts go to RUN/calibration-*; a second call reuses them. About
five minutes on two cores after `rewardranker quickstart`. Prints Markdown and writes `results/adaptive.json`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rewardranker.cli import main as rewardranker
from rewardranker.runs import write_json

RESULTS = Path(__file__).parent / "results" / "adaptive.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--measure-on", default="synthetic:test")
    parser.add_argument("--fit-tasks", type=int, default=600)
    parser.add_argument("--tasks", type=int, default=800)
    parser.add_argument("--n", type=int, default=32)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    policies = sorted(arguments.run.glob("round-*/ppo/policy"))
    found = {}
    for title, model in (("SFT generator", arguments.run / "sft"), ("policy of the last round", policies[-1])):
        print(f"### {title}\n", flush=True)
        folder = arguments.run / f"calibration-{'sft' if model.name == 'sft' else 'policy'}"
        counts = ("--limit", arguments.fit_tasks, "--measure-limit", arguments.tasks, "--n", arguments.n)
        sets = ("--tasks", "synthetic:validation", "--measure-on", arguments.measure_on)
        call = ("calibrate", "--run", arguments.run, "--model", model, *sets, *counts, "--output", folder)
        status = rewardranker([str(part) for part in call])
        if status:
            raise SystemExit(status)
        found[title] = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))
        found[title]["fitted"].pop("model")
    write_json(arguments.output, found)


if __name__ == "__main__":
    main()
