"""Everything that goes wrong on a cluster, seeded, over the real daemons; the judge sees what Slurm and the nodes show.

`CHAOS_FAULTS` says how many (make chaos-slurm: 200), `CHAOS_SEED` which, `CHAOS_KIND` only those kinds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import to_database
from tests.chaos.driver import make_blocks, only, render_table, run_blocks
from tests.slurm.faults import to_all, to_jobs
from tests.slurm.faults.ground import prepared_ground
from tests.slurm.faults.world import KINDS, SlurmWorld
from tests.testbeds.slurm.cluster import Cluster

FAULTS = int(os.environ.get("CHAOS_FAULTS", "40"))
SEED = int(os.environ.get("CHAOS_SEED", "20261123"))
ONLY = os.environ.get("CHAOS_KIND", "")
MODULES = (to_jobs, to_all, to_database)
"""Whose faults are dealt."""


@pytest.fixture
def world(slurm: Cluster, no_jobs: None, tmp_path: Path) -> Iterator[SlurmWorld]:
    with prepared_ground(slurm, tmp_path) as ground:
        made = SlurmWorld(ground)
        try:
            made.begin()
            yield made
        finally:
            made.end()


@pytest.mark.timeout(7200)
def test_nothing_is_lost_doubled_or_left(world: SlurmWorld) -> None:
    blocks = only(KINDS.named(ONLY)) if ONLY else make_blocks(KINDS.of(MODULES), FAULTS, SEED)
    outcomes = list(run_blocks(world, blocks, SEED))
    print(render_table(SEED, outcomes))
    failures = [f"{outcome.kind}: {outcome.error}" for outcome in outcomes if outcome.error]
    assert not failures, "\n".join([f"seed {SEED}", *failures])
