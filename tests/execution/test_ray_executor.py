"""The judge on a Ray cluster of several real nodes on this machine, one of which is lost in the middle."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from conftest import OPTIONS, sample_of
from ray_world import lose_machine, two_nodes

from rewardranker import ray_pool
from rewardranker.errors import DataError, MissingExtraError, SandboxError
from rewardranker.execution import ProgramJudge, ray_executor
from rewardranker.execution.ray_executor import RayJudge
from rewardranker.types import Sample, Task, Verdict

TASK = Task("t", "", entry_point="f", tests=("assert f() < 4", "assert f() >= 0"))
SLOW = "import time\ntime.sleep(0.07)\ndef f(): return {} % 7"
ITEMS = [(TASK, sample_of(SLOW.format(i), sample_id=i)) for i in range(60)]
FAST = [(task, replace(sample, program=sample.program.replace("0.07", "0"))) for task, sample in ITEMS]
"""The same verdicts sooner, for the judge of one machine."""


def facts(verdicts: Iterable[Verdict]) -> list[tuple[int, str, int, int, str]]:
    return [(v.sample_id, v.status, v.tests_passed, v.tests_total, v.isolation) for v in verdicts]


def test_without_ray_the_error_names_the_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'rewardranker\[ray\]'"):
        RayJudge(OPTIONS)


def test_a_wrong_address_is_told() -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    import ray

    if ray.is_initialized():
        pytest.skip("a connection is open")
    with pytest.raises(SandboxError, match=r"can't connect to the Ray cluster 127\.0\.0\.1:1: "):
        RayJudge(OPTIONS, address="127.0.0.1:1")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with two_nodes() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def judge(cluster: Any) -> Iterator[RayJudge]:
    """Shared by the tests, of which the last one takes a node away."""
    with RayJudge(OPTIONS, address=cluster.address) as judge:
        yield judge


def test_items_are_taken_as_needed_and_bad_tests_are_told_in_their_turn(judge: RayJudge) -> None:
    assert len(judge.pool.nodes) == 2
    taken = []
    bad = replace(TASK, tests=("assert f(",))

    def items() -> Iterator[tuple[Task, Sample]]:
        for number in range(10**6):
            taken.append(number)
            yield (bad if number == 5 else TASK), sample_of("def f(): return 1", sample_id=number)

    verdicts = judge.judge(items())
    assert [next(verdicts).sample_id for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(DataError, match="'t' can't be judged"):
        next(verdicts)
    in_flight = len(judge.pool.nodes) * ray_pool._IN_FLIGHT * ray_pool._AHEAD
    assert len(taken) <= in_flight * ray_executor._MOST_ITEMS


def test_items_wait_for_judges_that_are_starting(judge: RayJudge) -> None:
    for node in judge.pool.nodes:
        judge.pool._kill(node)
        judge.pool._start(node)
        node.starts -= 1  # not a failure
    assert [v.passed for v in judge.judge([(TASK, sample_of("def f(): return 1"))])] == [True]


def test_a_slow_program_does_not_let_the_others_run_ahead_without_bound(judge: RayJudge) -> None:
    taken = []

    def items() -> Iterator[tuple[Task, Sample]]:
        for number in range(10**6):
            taken.append(number)
            yield (
                TASK,
                sample_of("import time\ntime.sleep(0.9)\ndef f(): return 1" if not number else "", sample_id=number),
            )

    verdicts = judge.judge(items())
    assert next(verdicts).passed
    in_flight = len(judge.pool.nodes) * ray_pool._IN_FLIGHT * ray_pool._AHEAD
    assert len(taken) <= in_flight * ray_executor._MOST_ITEMS


def test_a_batch_that_keeps_failing_is_an_error_with_its_causes(
    judge: RayJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The judge's own fault on every node: bounded tries, no verdict."""
    monkeypatch.setattr(ray_pool, "_ATTEMPTS", 2)
    with pytest.raises(SandboxError, match=r"failed 2 times on a batch of 1 .*Swift programs can't be judged"):
        list(judge.judge([(replace(TASK, language="swift"), sample_of(""))]))


@pytest.mark.slow
def test_a_judge_that_is_killed_is_started_again_on_its_node(judge: RayJudge, pool: ProgramJudge) -> None:
    import ray

    starts, faults = sum(node.starts for node in judge.pool.nodes), len(judge.pool.faults)

    def items() -> Iterator[tuple[Task, Sample]]:
        for number, item in enumerate(ITEMS):
            if number == 20:
                victim = next(node for node in judge.pool.nodes if node.batches)
                ray.kill(victim.actor)
            yield item

    assert facts(judge.judge(items())) == facts(pool.judge(FAST))
    assert len(judge.pool.nodes) == 2
    assert sum(node.starts for node in judge.pool.nodes) == starts + 1
    assert len(judge.pool.faults) == faults + 1


def test_a_node_that_is_killed_in_the_middle_changes_nothing(judge: RayJudge, cluster: Any, pool: ProgramJudge) -> None:
    killed = []

    def items() -> Iterator[tuple[Task, Sample]]:
        for number, item in enumerate(ITEMS):
            if number == 20:
                victim = next(node for node in judge.pool.nodes if node.batches)
                killed.append(victim.id)
                lose_machine(cluster, victim.id)
            yield item

    faults = len(judge.pool.faults)
    # Whether the node is also given up in this time depends on when Ray notices that it is gone.
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        assert facts(judge.judge(items())) == facts(pool.judge(FAST))
        assert len(killed) == 1
        assert len(judge.pool.faults) > faults
        assert killed[0] not in [node.id for node in judge.pool.nodes if node.greeting is None]
        assert facts(judge.judge(ITEMS[:8])) == facts(pool.judge(FAST[:8]))
