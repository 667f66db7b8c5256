"""The table of ablations."""

from __future__ import annotations

import pytest

from rewardranker.errors import DataError
from rewardranker.report import ablation_table

ROWS = [
    {"arm": "reward model 1", "population": "sft", "figure": "best of 8", "values": [0.78, 0.80, 0.85]},
    {"arm": "reward model 1", "population": "policy-1", "figure": "best of 8", "values": [0.5, 0.5, 0.5]},
    {"arm": "PPO of round 1, KL 0.2", "population": "policy", "figure": "KL at the last step", "values": [3, 4, 8]},
]


def test_mean_and_range_over_seeds_with_shares_in_percent() -> None:
    lines = [line.split() for line in ablation_table({"seeds": 3, "rows": ROWS}).splitlines()]
    assert ["reward", "model", "1", "sft", "best", "of", "8", "81.0", "78.0", "85.0"] in lines
    assert ["policy-1", "best", "of", "8", "50.0", "50.0", "50.0"] in lines
    assert [line[-3:] for line in lines if "KL" in line] == [["5", "3", "8"]]


def test_fits_a_hundred_columns() -> None:
    rows = [row | {"arm": row["arm"] * 4, "figure": row["figure"] * 4} for row in ROWS]  # type: ignore[operator]
    assert max(map(len, ablation_table({"seeds": 3, "rows": rows}).splitlines())) <= 100


def test_a_missing_column_is_named() -> None:
    with pytest.raises(DataError, match="row 0: column 'values' is missing"):
        ablation_table({"seeds": 1, "rows": [{"arm": "a", "population": "b", "figure": "c"}]})
