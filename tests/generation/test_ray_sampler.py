"""Sampling on a Ray cluster of real nodes on this machine, one of which is lost in the middle; a real, tiny model."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import generation_world as world
import pytest
from ray_world import lose_machine, two_nodes

from rewardranker.cli import main
from rewardranker.config import Recipe
from rewardranker.errors import DataError, ModelError
from rewardranker.generation import sample_to_file
from rewardranker.generation.opening import open_sampler
from rewardranker.generation.ray_sampler import RaySampler
from rewardranker.types import Task

RECIPE = Recipe.model_validate(
    {"sampling": {"n": 3, "max_new_tokens": 24, "batch_tasks": 2}, "launch": {"threads": 1, "device": "cpu"}}
)
TASKS = world.new_tasks(24)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("models") / "tiny"
    tokenizer = world.new_tokenizer()
    world.new_llama(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with two_nodes() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def sampler(cluster: Any, model: Path) -> Iterator[RaySampler]:
    """Shared by the tests, of which the last one takes a node away."""
    with RaySampler(RECIPE, str(model), address=cluster.address) as sampler:
        yield sampler


def test_a_task_that_no_node_can_draw_for_is_an_error_at_once(sampler: RaySampler) -> None:
    assert len(sampler.pool.nodes) == 2
    drawn = sampler.sample([*TASKS[:2], Task("long", "x" * 400)], 3)
    assert [samples[0].task_id for samples in (next(drawn), next(drawn))] == ["task/0", "task/1"]
    with pytest.raises(DataError, match="long"):
        next(drawn)
    assert sampler.pool.faults == []


def test_a_folder_that_no_node_has_is_told_with_its_causes(sampler: RaySampler, tmp_path: Path) -> None:
    """Beside the samplers that run, whose connection is used."""
    for node in sampler.pool.nodes:
        sampler.pool._kill(node)
    with (
        warnings.catch_warnings(action="ignore", category=RuntimeWarning),
        pytest.raises(ModelError, match=r"no node of the Ray cluster can sample: node .*absent"),
    ):
        RaySampler(RECIPE, str(tmp_path / "absent"))
    for node in sampler.pool.nodes:
        sampler.pool._start(node)


def test_a_node_that_is_killed_in_the_middle_changes_no_byte_of_the_file(
    sampler: RaySampler, cluster: Any, model: Path, tmp_path: Path
) -> None:
    class Watched:
        """Loses a node when the first tasks have come."""

        streams, batch_tasks, record_fields = True, sampler.batch_tasks, sampler.record_fields

        def sample(self, tasks: Any, n: int, *, round: int = 0) -> Iterator[Any]:
            for number, samples in enumerate(sampler.sample(tasks, n, round=round)):
                if number == 4:
                    victim = next(node for node in sampler.pool.nodes if node.batches)
                    lose_machine(cluster, victim.id)
                yield samples

    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        sample_to_file(Watched(), TASKS, 3, tmp_path / "ray.jsonl")
    assert sampler.pool.faults
    sample_to_file(open_sampler(RECIPE, str(model)), TASKS, 3, tmp_path / "local.jsonl")
    assert (tmp_path / "ray.jsonl").read_bytes() == (tmp_path / "local.jsonl").read_bytes()


def test_what_does_not_go_together_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["sample", "--tasks", "synthetic:train", "--output", str(tmp_path / "samples.jsonl")]
    for options, message in (
        (["--executor", "ray", "--upstream", "http://localhost:1"], "not with --upstream"),
        (["--workers", "2"], "--workers is for --executor ray"),
    ):
        assert main([*given, *options]) == 2
        assert message in capsys.readouterr().err


def test_a_stream_of_batches_is_gone_on_with_from_the_last_whole_batch(tmp_path: Path) -> None:
    """So that a batch is drawn with the same neighbours again."""
    asked = []

    class Stream:
        streams, batch_tasks = True, 3

        def sample(self, tasks: Any, n: int, *, round: int = 0) -> Iterator[Any]:
            asked.append([task.task_id for task in tasks])
            for number, samples in enumerate(world.new_sampler().sample(tasks, n, round=round)):
                if len(asked) == 1 and number == 5:
                    raise KeyboardInterrupt
                yield samples

    path = tmp_path / "samples.jsonl"
    with pytest.raises(KeyboardInterrupt):
        sample_to_file(Stream(), TASKS[:9], 2, path)
    assert len(path.read_text().splitlines()) == 10
    sample_to_file(Stream(), TASKS[:9], 2, path)
    assert asked[1] == [task.task_id for task in TASKS[3:9]]
    ids = [json.loads(line)["task_id"] for line in path.read_text().splitlines()]
    assert ids == [task.task_id for task in TASKS[:9] for _ in range(2)]
