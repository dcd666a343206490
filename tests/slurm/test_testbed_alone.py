"""Clusters of other shapes, and what is left of a testbed: nothing, however its test run ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.installation import wait_until
from tests.testbeds.slurm.cluster import Cluster, running_cluster
from tests.testbeds.slurm.computer import CGROUPS, machines_alive
from tests.testbeds.slurm.network import bridge_exists
from tests.testbeds.slurm.profile import STOCK, Profile

SMALL = Profile(nodes=1, gpu_nodes=0, accounting=False, max_array_size=11)
KILLED_RUN = """
import time
from tests.testbeds.slurm.cluster import Cluster
from tests.testbeds.slurm.profile import Profile
cluster = Cluster(Profile(nodes=2, accounting=False))
cluster.up()
cluster.submit("alice", "#!/bin/sh\\nsleep 600\\n")
print("up", flush=True)
time.sleep(600)
"""


def test_killed_run_leaves_nothing_after_the_next() -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", KILLED_RUN], cwd=root, stdout=subprocess.PIPE) as run:
        try:
            assert run.stdout is not None
            assert run.stdout.readline() == b"up\n"
        finally:
            run.kill()
    left = set(machines_alive())
    assert len(left) == 4
    with running_cluster(SMALL) as cluster:
        assert not left & set(machines_alive())
        assert cluster.node_states() == {"node1": "idle"}
    assert not machines_alive()
    assert not bridge_exists()
    assert not cluster.folder.exists()
    wait_until(lambda: not list(CGROUPS.glob("*/slurm_*")), 5, "the end of Slurm's cgroups")


def test_cluster_without_accounting_and_with_short_arrays() -> None:
    with running_cluster(SMALL) as cluster:
        assert "accounting storage is disabled" in cluster.hub.run(["sacct"], user="sampan").stderr
        number = cluster.submit("bob", "#!/bin/sh\n", "--array=0-10")
        wait_until(lambda: not _live(cluster, number), 60, "the array's end")
        with pytest.raises(RuntimeError, match="Invalid job array"):
            cluster.submit("bob", "#!/bin/sh\n", "--array=0-11")


def _live(cluster: Cluster, number: int) -> str:
    return cluster.ask("squeue", "-h", "-t", "pending,running,completing", "-j", str(number))


def test_stock_cluster_has_slurms_own_delay() -> None:
    with running_cluster(STOCK) as cluster:
        assert "batch_sched_delay=3," in cluster.ask("scontrol", "show", "config")
