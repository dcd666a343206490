"""Everything that goes wrong on a cluster, seeded, over the real Kubernetes; the judge sees what kubectl shows.

`CHAOS_FAULTS` says how many (make chaos-kube: 200), `CHAOS_SEED` which, `CHAOS_KIND` only those kinds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import to_database
from tests.chaos.driver import make_blocks, only, render_table, run_blocks
from tests.kube.faults import to_all, to_api, to_jobs
from tests.kube.faults.ground import prepared_ground
from tests.kube.faults.world import KINDS, KubeWorld
from tests.testbeds.kube.cluster import KubeCluster

FAULTS = int(os.environ.get("CHAOS_FAULTS", "40"))
SEED = int(os.environ.get("CHAOS_SEED", "20261123"))
ONLY = os.environ.get("CHAOS_KIND", "")
MODULES = (to_all, to_api, to_jobs, to_database)
"""Whose faults are dealt."""


@pytest.fixture
def world(kube: KubeCluster, tmp_path: Path) -> Iterator[KubeWorld]:
    with prepared_ground(kube, tmp_path) as ground:
        made = KubeWorld(ground)
        try:
            made.begin()
            yield made
        finally:
            kube.restore()
            made.end()


@pytest.mark.timeout(7200)
def test_nothing_is_lost_doubled_or_left(world: KubeWorld) -> None:
    blocks = only(KINDS.named(ONLY)) if ONLY else make_blocks(KINDS.of(MODULES), FAULTS, SEED)
    outcomes = list(run_blocks(world, blocks, SEED))
    print(render_table(SEED, outcomes))
    failures = [f"{outcome.kind}: {outcome.error}" for outcome in outcomes if outcome.error]
    assert not failures, "\n".join([f"seed {SEED}", *failures])
