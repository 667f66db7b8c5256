"""Progress lines, in a log and on a terminal."""

from __future__ import annotations

import io
import re

import pytest

from rewardranker.progress import Progress, clock, shown


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_a_line_at_start_and_end_and_is_not_flooded() -> None:
    stream = io.StringIO()
    progress = Progress(stream, interval=3600)
    progress.start("sample", 1000, unit="tasks")
    for done in range(1000):
        progress.update(done)
    progress.finish(passed="51 %")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert "sample: 0/1,000 tasks" in lines[0]
    assert "1,000/1,000 tasks" in lines[1]
    assert "passed 51 %" in lines[1]


def test_figures_stay_until_replaced() -> None:
    stream = io.StringIO()
    progress = Progress(stream, interval=0)
    progress.start("sft", 3)
    progress.update(1, loss=2.0, lr=0.1)
    progress.update(2, loss=1.5)
    assert stream.getvalue().splitlines()[-1].endswith("loss 1.5, lr 0.1")


def test_time_left_counts_only_what_this_session_did() -> None:
    stream = io.StringIO()
    progress = Progress(stream, interval=0)
    progress.start("judge", 100, done=90)
    progress._start -= 10.0  # ten seconds ago
    progress.update(95)
    assert ", 0:10 left" in stream.getvalue().splitlines()[-1]


def test_a_resumed_step_shows_no_time_left_before_it_did_anything() -> None:
    stream = io.StringIO()
    Progress(stream).start("judge", 100, done=90)
    assert "90/100" in stream.getvalue()
    assert "left" not in stream.getvalue()


def test_a_terminal_line_is_redrawn_in_place_and_ended_once() -> None:
    stream = Terminal()
    progress = Progress(stream)
    progress.start("ppo", 2)
    progress.update(1)
    progress.finish()
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().endswith("\n")
    assert re.match(r"\r\x1b\[2K\[0:00\] ppo: 0/2 steps", stream.getvalue())


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (75, "1:15"), (59.6, "1:00"), (3700, "1:01:40")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.123"),
        (12345.6, "12,346"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
        (1234, "1,234"),
        ("a", "a"),
    ],
)
def test_shown(value: float | str, text: str) -> None:
    assert shown(value) == text


def test_a_stage_is_named_at_once_and_before_its_steps() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    progress.begin("sample round-1")
    assert stream.getvalue() == "[0:00] sample round-1 ...\n"
    progress.start("sample", 10, unit="tasks")
    assert "sample round-1: sample: 0/10 tasks" in stream.getvalue()
