"""The stopping rule: what it reads from candidates, when it stops, and its file."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from rewardranker.errors import DataError
from rewardranker.serving.adaptive import FEATURES, FILE, AdaptiveStop, Chance, features

NEVER = Chance(-50.0, (0.0,) * len(FEATURES))
FALLING = Chance(0.0, (0.0, 0.0, 0.0, 0.0, -2.0))
"""1 in 2 after one candidate, 1 in 5 after two, 1 in 17 after four."""
RULE = AdaptiveStop(wins=FALLING, loses=NEVER, threshold=0.1)


def test_features_of_candidates_that_partly_agree() -> None:
    found = dict(zip(FEATURES, features([1.0, 3.0, 3.0, 2.5], ["a", "b", "b", "c"]), strict=True))
    assert found["best score"] == 3.0
    assert found["gap"] == 0.5
    assert found["agreement"] == 0.0
    assert found["novelty"] == 0.0
    assert found["log drawn"] == math.log(4)


def test_a_program_alone_has_no_gap() -> None:
    assert features([2.0, 2.0], ["a", "a"])[1] == 0.0


def test_stops_when_a_further_candidate_is_not_worth_its_price() -> None:
    assert not RULE.should_stop([1.0], ["a"], 8)
    assert not RULE.should_stop([1.0, 0.0], ["a", "b"], 8)
    assert RULE.should_stop([1.0, 0.0, 0.0, 0.0], ["a", "b", "c", "d"], 8)


def test_what_may_be_lost_counts_against_drawing_on() -> None:
    risky = replace(RULE, loses=FALLING)
    assert RULE.gain([1.0], ["a"]) == pytest.approx(0.5)
    assert risky.gain([1.0], ["a"]) == 0.0
    assert risky.should_stop([1.0], ["a"], 8)


def test_the_limit_holds_whatever_the_gain() -> None:
    eager = replace(RULE, threshold=-1.0)
    assert not eager.should_stop([0.0] * 7, list("abcdefg"), 8)
    assert eager.should_stop([0.0] * 8, list("abcdefgh"), 8)


def test_draws_on_while_nothing_could_be_scored() -> None:
    assert not RULE.should_stop([], [], 8)


@pytest.mark.parametrize("scores", [[float("inf"), 1.0], [float("-inf"), 1.0], [float("nan"), 1.0], [float("nan")] * 2])
def test_scores_that_are_no_numbers_do_not_break_it(scores: list[float]) -> None:
    assert math.isfinite(replace(RULE, wins=Chance(0.0, (1.0,) * len(FEATURES))).gain(scores, ["a", "b"]))


def test_comes_back_from_its_file_and_from_the_folder_that_holds_it(tmp_path: Path) -> None:
    rule = replace(RULE, first_step=3, step=4, fitted={"tasks": 60})
    rule.save(tmp_path / FILE)
    assert AdaptiveStop.from_file(tmp_path / FILE) == rule
    assert AdaptiveStop.from_file(tmp_path) == rule


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"schema": "rewardranker.adaptive/9"}, "schema 'rewardranker.adaptive/9'"),
        ({"features": ["best score"]}, "expected schema"),
        ({"wins": {"offset": 0.0, "weights": [1.0]}}, "1 weights for 5 features"),
        ({"loses": {"offset": 0.0, "weights": [1.0, 2.0, 3.0, 4.0, "NaN"]}}, "not finite"),
        ({"threshold": None}, "threshold|TypeError"),
        ({"step": 0}, "at least one candidate"),
    ],
)
def test_refuses_a_file_that_it_does_not_know(tmp_path: Path, change: dict[str, object], told: str) -> None:
    RULE.save(tmp_path / FILE)
    values = json.loads((tmp_path / FILE).read_text()) | change
    (tmp_path / FILE).write_text(json.dumps(values))
    with pytest.raises(DataError, match=told):
        AdaptiveStop.from_file(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "\x00"])
def test_refuses_a_file_that_is_broken(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(DataError, match=r"rewardranker calibrate"):
        AdaptiveStop.from_file(tmp_path / FILE)


def test_a_missing_file_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"adaptive\.json: no such file; `rewardranker calibrate"):
        AdaptiveStop.from_file(tmp_path)
