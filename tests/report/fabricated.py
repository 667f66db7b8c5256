"""A run directory with made-up figures, as a finished run leaves it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

RANKERS = {
    "mean": "chance (mean of n)",
    "greedy": "greedy decoding",
    "logprob": "mean log-probability",
    "reward-1": "reranker, round 1",
    "reward-2": "reranker, round 2",
    "reward-2+logprob": "reranker 2 + log-probability",
    "oracle": "oracle",
}
LEVELS = {
    "sft": (0.51, 0.73, 0.75, 0.80, 0.81, 0.91, 0.93),
    "policy-1": (0.63, 0.72, 0.71, 0.56, 0.73, 0.82, 0.87),
    "policy-2": (0.75, 0.87, 0.84, 0.78, 0.86, 0.90, 0.95),
}


def interval(mean: float, half: float = 0.035) -> dict[str, float]:
    return {"mean": mean, "low": max(0.0, mean - half), "high": min(1.0, mean + half)}


def evaluation() -> dict[str, Any]:
    """A document with every field of `evaluation.json`."""
    populations = []
    for key, levels in LEVELS.items():
        rankers = []
        for (ranker, title), level in zip(RANKERS.items(), levels, strict=True):
            start = levels[0]
            curve = [
                {"n": n, **interval(start + (level - start) * math.log2(n) / 3)}
                for n in range(1, 9)
                if ranker not in ("mean", "greedy")
            ]
            rankers.append({"key": ranker, "title": title, **interval(level), "curve": curve})
        pairwise = [
            {"ranker": f"reward-{k}", "all": interval(0.8 + 0.02 * k), "hard": interval(0.55 + 0.06 * k, 0.05)}
            for k in (1, 2)
        ]
        title = "SFT generator" if key == "sft" else f"policy, round {key[-1]}"
        bins = [{"share": 0.5, "predicted": p, "observed": p, "low": p - 0.1, "high": p + 0.1} for p in (0.3, 0.6)]
        calibration = [{"ranker": "reward-2", "ece": 0.03, "brier": 0.2, "brier_of_rate": 0.25, "bins": bins}]
        populations.append(
            {
                "key": key,
                "title": title,
                "distinct": interval(0.67, 0.01),
                "rankers": rankers,
                "pairwise": pairwise,
                "calibration": calibration,
            }
        )
    examples = [
        example("sft", 1, False, 1.25, "wrong answer"),
        example("policy-1", 2, False, 3.5, "exception"),
        example("policy-2", 3, True, 4.0, "passed"),
        example("policy-2", 4, False, -0.5, "timeout"),
    ]
    return {
        "name": "quickstart",
        "tasks": 400,
        "n": 8,
        "confidence": 0.95,
        "populations": populations,
        "differences": [
            {"title": "reranker 2 - chance, SFT generator", "mean": 0.3, "low": 0.26, "high": 0.34, "p": 0.0},
            {"title": "reranker 2 - reranker 1, SFT generator", "mean": 0.01, "low": -0.02, "high": 0.04, "p": 0.51},
            {"title": "reranker 1 - chance, policy, round 1", "mean": -0.07, "low": -0.11, "high": -0.03, "p": 0.004},
        ],
        "stages": [{"name": "A sft", "seconds": 92.3}, {"name": "C ppo round-1", "seconds": 201.0}],
        "peak_memory_mb": 913.4,
        "examples": examples,
        "notes": ["The weight of the log-probability was fitted on validation tasks."],
    }


def example(population: str, number: int, passed: bool, score: float, status: str) -> dict[str, Any]:
    prompt = f'def task_{number}(values: list[int]) -> int:\n    """Sum of the <even> & positive values."""\n'
    return {
        "population": population,
        "task_id": f"synthetic/{number}",
        "prompt": prompt,
        "program": prompt + "    return sum(v for v in values if v % 2)\n",
        "passed": passed,
        "status": status,
        "detail": "" if passed else "assert task([2]) == 2, got 0",
        "scores": {"reward-1": score / 2, "reward-2": score, "logprob": -0.31},
    }


def write_run(folder: Path) -> Path:
    """A whole run directory: figures, PPO metrics of two rounds, manifest, recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.json").write_text(json.dumps(evaluation()))
    for number in (1, 2):
        rows = []
        for step in range(1, 61):
            row = {"step": step, "objective/scores": 0.02 * step * number, "objective/kl": 0.4 * math.sqrt(step)}
            if step % 10 == 0:
                row["validation/pass_rate"] = 0.5 + 0.002 * step * number
            rows.append(json.dumps(row))
        ppo = folder / f"round-{number}" / "ppo"
        ppo.mkdir(parents=True)
        (ppo / "metrics.jsonl").write_text("\n".join(rows) + "\n")
    (folder / "recipe.yaml").write_text("name: quickstart\nppo:\n  kl: 0.05\n")
    manifest = {
        "started": "2026-01-01T10:00:00+0000",
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "stages": {},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
