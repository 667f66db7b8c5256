"""The folder of an evaluation with made-up figures and records, of any size, as `rewardranker eval` leaves it."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

RANKERS = {"mean logprob": 0.4, "codet": 0.8, "coder-reviewer": 0.45, "mbr": 0.6, "shortest": 0.2, "reward:runs/x": 0.9}
"""Name, and how much its score knows of the verdict."""
LANGUAGES = ("python", "cpp", "js", "rs")
HOSTILE = '</script><script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">'
TURNED = "\u202e } \u2066if admin\u2069 \u2066 begin admins only"
"""Signs that turn the direction of writing, so that code shows as a comment (CVE-2021-42574)."""
BODIES = {
    "python": "    total = 0\n    for value in values:\n        # {note}\n        if value {op} {k}:\n"
    '            total += value\n    return total, "{note}"\n',
    "cpp": "long solve(std::vector<long> values) {{\n  long total = 0;\n"
    "  for (auto v : values) if (v {op} {k}) total += v;\n"
    '  return total; // "{note}"\n}}\n',
    "js": "function solve(values) {{\n  // {note}\n  return values.filter(v => v {op} {k}).length;\n}}\n",
    "rs": "fn solve(values: Vec<i64>) -> i64 {{\n    // {note}\n    values.iter().filter(|v| **v {op} {k}).sum()\n}}\n",
}


def interval(mean: float, half: float = 0.04) -> dict[str, float]:
    return {"mean": mean, "low": max(0.0, mean - half), "high": min(1.0, mean + half)}


def rows(names: dict[str, float], ns: list[int], shift: float = 0.0) -> list[dict[str, Any]]:
    found = [{"ranker": "mean of n", "n": 1, **interval(0.3 + shift), "tokens": 60.0, "seconds": 0.0, "programs": 0.0}]
    for place, (name, skill) in enumerate([*names.items(), ("oracle", 1.2)]):
        for n in ns:
            level = 0.3 + shift + 0.45 * skill * math.log2(n) / math.log2(128)
            cost = {
                "tokens": 60.0 * n,
                "seconds": 0.0 if place % 2 else 0.002 * place * n,
                "programs": 5.0 * n if name in ("codet", "mbr") else 0.0,
            }
            found.append({"ranker": name, "n": n, **interval(min(level, 0.99)), **cost})
    return found


def document(tasks: int, samples: int) -> dict[str, Any]:
    """All that `evaluation.json` of an evaluation has for a page."""
    ns = [*(2**k for k in range(20) if 2**k < samples), samples]
    groups = [
        {"value": language, "tasks": tasks // len(LANGUAGES), "rows": rows(RANKERS, ns, 0.05 * k)}
        for k, language in enumerate(LANGUAGES)
    ]
    bins = [
        {"share": 0.1, "predicted": k / 10 + 0.05, "observed": (k / 10 + 0.05) ** 1.2, "low": k / 12, "high": k / 9}
        for k in range(9)
    ]
    calibration = {"ece": 0.043, "brier": 0.17, "brier_of_rate": 0.21, "flat_folds": 0, "folds": 5, "bins": bins}
    return {
        "schema": "rewardranker.evaluation/1",
        "model": "tiny-<code>-135M",
        "tasks": tasks,
        "samples": tasks * samples,
        "n": samples,
        "confidence": 0.95,
        "rows": rows(RANKERS, ns),
        "differences": [
            {
                "ranker": "reward:runs/x",
                "baseline": baseline,
                "n": samples,
                **interval(mean),
                "low": mean - 0.03,
                "p_value": 0.001,
                "p_adjusted": 0.004,
            }
            for baseline, mean in (("mean of n", 0.4), ("codet", 0.045), ("mbr", 0.01))
        ],
        "quality": [
            {
                "ranker": name,
                "pairwise_accuracy": interval(0.5 + skill / 3),
                "mrr": interval(0.4 + skill / 3),
                "auc": interval(0.5 + skill / 4),
            }
            for name, skill in RANKERS.items()
        ],
        "calibration": [{"ranker": name, **calibration} for name in RANKERS],
        "breakdowns": [{"by": "language", "groups": groups, "average": rows(RANKERS, ns, 0.07)}],
        "distinct": 0.61 * samples,
        "dropped": ["demo/broken"],
        "notes": ["2 scores of 'codet' are infinite."],
        "methods": {"interval": "percentile bootstrap over tasks"},
        "inputs": {},
    }


def write_evaluation(folder: Path, tasks: int = 12, samples: int = 8, padding: int = 0) -> Path:
    """The document and its records; a third of the programs are copies, some tasks have none that passes.

    Args:
        padding: characters that each program is made longer by.
    """
    rng = random.Random(7)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.json").write_text(json.dumps(document(tasks, samples)))
    lines: dict[str, list[dict[str, Any]]] = {"tasks": [], "samples": [], "verdicts": [], "rankings": []}
    for number in range(tasks):
        task_id, language = f"demo/{number}", LANGUAGES[number * len(LANGUAGES) // tasks]
        head = (
            'def solve(values):\n    """Sum of the values that {}."""\n'
            if language == "python"
            else "// values that {}\n"
        )
        prompt = head.format(f"exceed {number}")
        tests = [f"assert solve([{number}, {number + k}]) == {k}" for k in range(1, 4)]
        reference = BODIES[language].format(note="reference", op=">", k=number)
        task = {"task_id": task_id, "prompt": prompt, "language": language, "tests": tests, "reference": reference}
        lines["tasks"].append(
            task | {"metadata": {"difficulty": "easy" if number % 2 else "hard", "source": "made up"}}
        )
        scores: dict[str, list[float]] = {name: [] for name in RANKERS}
        for sample in range(samples):
            passed = rng.random() < 0.45 and number % 6 != 5
            note = f"{rng.randrange(10**6)} {HOSTILE if sample == 1 else TURNED if sample == 2 else ''}"
            note = note if sample % 3 else "copy"
            filler = "".join(f"    # {rng.getrandbits(120):x}\n" for _ in range(padding // 36))
            body = (
                BODIES[language].format(note=note, op=">" if passed else rng.choice(["<", ">=", "!="]), k=number)
                + filler
            )
            lines["samples"].append(
                {"task_id": task_id, "sample_id": sample, "text": body, "completion": body, "program": prompt + body}
            )
            status = "passed" if passed else rng.choice(["wrong answer", "exception", "timeout"])
            held = 3 if passed else rng.randrange(3)
            verdict = {"task_id": task_id, "sample_id": sample, "passed": passed, "status": status, "tests_total": 3}
            detail = "" if passed else f"AssertionError: got {rng.randrange(9)} {HOSTILE if sample == 1 else ''}"
            outcomes = "1" * held + ("0" if held < 3 else "") + "-" * (2 - held)
            lines["verdicts"].append(verdict | {"detail": detail, "tests_passed": held, "outcomes": outcomes})
            for name, skill in RANKERS.items():
                score = skill * passed + rng.gauss(0, 0.4)
                scores[name].append(round(score) if name == "codet" else round(score, 6))
        for name, values in scores.items():
            lines["rankings"].append(
                {"task_id": task_id, "ranker": name, "sample_ids": list(range(samples)), "scores": values}
            )
    for name, records in lines.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder
