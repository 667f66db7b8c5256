"""Files of records: what is broken is told with its place, and infinite scores survive."""

import json
import sys
from pathlib import Path

import pytest

from rewardranker.errors import DataError
from rewardranker.evaluation import read_all, read_rankings, write_rankings
from rewardranker.types import Ranking, Sample

LINE = '{"task_id": "t", "sample_id": 0, "text": "", "completion": "", "program": ""}\n'


def test_a_last_line_that_is_cut_off_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text(LINE + LINE[:30])
    with pytest.raises(DataError, match=r"samples.jsonl:2: the last line is cut off.*give the command that wrote it"):
        read_all(path, Sample)


def test_a_last_line_that_only_lacks_its_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text(LINE + LINE[:-1])
    assert len(read_all(path, Sample)) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LINE[:30] + "\n" + LINE[:-1], r"samples.jsonl:1: broken JSON"),
        (LINE + "[]\n", r"samples.jsonl:2: expected a JSON object"),
        (LINE + '{"task_id": "t"}', r"samples.jsonl:2: the last line is cut off|column 'sample_id' is missing"),
        ("", "the file has no records"),
    ],
)
def test_other_broken_lines_keep_their_own_message(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_all(path, Sample)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_all(tmp_path / "none.jsonl", Sample)


def test_rankings_of_several_rankers_come_back_with_their_infinities(tmp_path: Path) -> None:
    rankings = [
        Ranking("t", "a", (0, 1, 2), (float("-inf"), 0.5, float("inf"))),
        Ranking("t", "b", (0, 1, 2), (1.0, 2.0, 3.0)),
        Ranking("u", "a", (4,), (0.25,)),
    ]
    path = tmp_path / "rankings.jsonl"
    assert write_rankings(path, rankings) == 3
    assert read_rankings(path) == {"a": [rankings[0], rankings[2]], "b": [rankings[1]]}


def test_infinities_are_the_largest_number_in_the_file(tmp_path: Path) -> None:
    """So that every reader of JSON reads it, and ranks alike."""
    path = tmp_path / "rankings.jsonl"
    write_rankings(path, [Ranking("t", "a", (0, 1, 2), (float("-inf"), -1e300, float("inf")))])
    assert json.loads(path.read_text())["scores"] == [-sys.float_info.max, -1e300, sys.float_info.max]


@pytest.mark.parametrize(
    ("score", "message"),
    [
        ("NaN", r"rankings.jsonl: a score of 'a' for task 't' is NaN"),
        ("null", r"rankings.jsonl:1: column 'scores'\[0\]: expected float"),
        ('"high"', r"rankings.jsonl:1: column 'scores'\[0\]: expected float"),
    ],
)
def test_scores_that_are_no_numbers_are_refused(score: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rankings.jsonl"
    path.write_text(f'{{"task_id": "t", "ranker": "a", "sample_ids": [0], "scores": [{score}]}}\n')
    with pytest.raises(DataError, match=message):
        read_rankings(path)
