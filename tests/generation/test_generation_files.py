"""Sample files: killed with SIGKILL and resumed, they are those of an undisturbed run."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from generation_world import DyingSampler, new_sampler, new_tasks

from rewardranker.errors import DataError
from rewardranker.generation import sample_to_file
from rewardranker.runs import read_records
from rewardranker.types import Sample


def write(path, tasks=10, n=4, batch_tasks=3, sampler=None, **options):
    return sample_to_file(sampler or new_sampler(**options), new_tasks(tasks), n, path, batch_tasks=batch_tasks)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("samples") / "samples.jsonl"
    return path, write(path)


def test_killed_and_resumed_file_is_equal_byte_for_byte(undisturbed, tmp_path):
    path = tmp_path / "samples.jsonl"
    script = Path(__file__).with_name("generation_world.py")
    killed = subprocess.run(
        [sys.executable, script, path, "2"], env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert len(list(read_records(path, Sample))) == 2 * 3 * 4
    write(path)
    assert path.read_bytes() == undisturbed[0].read_bytes()


def test_a_batch_half_written_is_drawn_again_whole(undisturbed, tmp_path):
    path = tmp_path / "samples.jsonl"
    lines = undisturbed[0].read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:17]) + lines[17][:30])
    batches = []
    sampler = new_sampler()
    draw = sampler.sample
    sampler.sample = lambda tasks, n, round: batches.append([t.task_id for t in tasks]) or draw(tasks, n, round=round)
    write(path, sampler=sampler)
    assert path.read_bytes() == undisturbed[0].read_bytes()
    assert batches[0] == ["task/3", "task/4", "task/5"]


def test_a_complete_file_is_left_alone_and_counted_again(undisturbed, tmp_path):
    path = tmp_path / "samples.jsonl"
    path.write_bytes(undisturbed[0].read_bytes())

    figures = write(path, sampler=DyingSampler(new_sampler(), 0))  # would kill this process if it were asked

    assert path.read_bytes() == undisturbed[0].read_bytes()
    counted = ("samples", "tokens", "distinct", "ended")
    assert {k: figures[k] for k in counted} == {k: undisturbed[1][k] for k in counted}


def test_figures_are_those_of_the_file(undisturbed):
    path, figures = undisturbed
    samples = list(read_records(path, Sample))
    assert figures["samples"] == len(samples) == 40
    assert figures["tokens"] == sum(len(s.token_ids) for s in samples)
    assert figures["distinct"] == len({(s.task_id, s.completion) for s in samples}) / 40
    assert figures["ended"] == sum(s.finish_reason == "stop" for s in samples) / 40
    assert figures["tokens_per_second"] == pytest.approx(figures["tokens"] / figures["seconds"])


@pytest.mark.parametrize(
    ("change", "column"),
    [({"seed": 1}, "seed"), ({"temperature": 0.5}, "temperature"), ({"n": 2}, "40 samples"), ({"n": 6}, "task_id")],
)
def test_a_file_of_other_options_is_refused_and_stays(undisturbed, tmp_path, change, column):
    path = tmp_path / "samples.jsonl"
    path.write_bytes(undisturbed[0].read_bytes())
    with pytest.raises(DataError, match=column):
        write(path, **change)
    assert path.read_bytes() == undisturbed[0].read_bytes()


def test_a_file_of_other_tasks_is_refused(undisturbed, tmp_path):
    path = tmp_path / "samples.jsonl"
    path.write_bytes(undisturbed[0].read_bytes())
    with pytest.raises(DataError, match=r"samples\.jsonl:1: task_id is 'task/0'"):
        sample_to_file(new_sampler(), new_tasks(10)[::-1], 4, path, batch_tasks=3)
