"""A Ray cluster of several real nodes on this machine, and the loss of one."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rewardranker


@contextlib.contextmanager
def two_nodes() -> Iterator[Any]:
    """A head without processors, and two nodes with one each."""
    pytest.importorskip("ray", reason="ray is not installed: pip install 'rewardranker[ray]'")
    from ray.cluster_utils import Cluster

    memory = {"object_store_memory": 80 * 2**20}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Workers of the cluster must find this package where this process does.
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(rewardranker.__file__).parents[1]), *sys.path]))
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **memory})
        try:
            for _ in range(2):
                cluster.add_node(wait=False, num_cpus=1, **memory)
            cluster.wait_for_nodes()
            yield cluster
        finally:
            cluster.shutdown()


def lose_machine(cluster: Any, node_id: str) -> None:
    """All processes of a node end at once."""
    import psutil

    (node,) = [node for node in cluster.worker_nodes if node.node_id == node_id]
    processes = psutil.Process(node.all_processes["raylet"][0].process.pid).children(recursive=True)
    cluster.remove_node(node, allow_graceful=False)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
