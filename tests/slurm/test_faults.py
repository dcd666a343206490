"""Everything that goes wrong on a cluster, seeded, over the real daemons; the judge sees what Slurm and the nodes show.

`CHAOS_FAULTS` says how many (make chaos-slurm: 200), `CHAOS_SEED` which, `CHAOS_KIND` only those kinds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.faults.driver import make_blocks, render_table, run_blocks
from tests.slurm.faults.ground import prepared_ground
from tests.slurm.faults.kinds import KINDS
from tests.slurm.faults.world import World
from tests.testbeds.slurm.cluster import Cluster

FAULTS = int(os.environ.get("CHAOS_FAULTS", "40"))
SEED = int(os.environ.get("CHAOS_SEED", "20261123"))
ONLY = os.environ.get("CHAOS_KIND", "")


@pytest.fixture
def world(slurm: Cluster, no_jobs: None, tmp_path: Path) -> Iterator[World]:
    with prepared_ground(slurm, tmp_path) as ground:
        made = World(ground)
        try:
            made.begin()
            yield made
        finally:
            made.end()


@pytest.mark.timeout(7200)
def test_nothing_is_lost_doubled_or_left(world: World) -> None:
    blocks = make_blocks(FAULTS, SEED)
    if ONLY:
        chosen = [kind for kind in KINDS.values() if any(word in kind.name for word in ONLY.split(","))]
        together = [kind for kind in chosen if not kind.alone]
        blocks = [together] * bool(together) + [[kind] for kind in chosen if kind.alone]
    outcomes = list(run_blocks(world, blocks, SEED))
    print(render_table(SEED, outcomes))
    failures = [f"{outcome.kind}: {outcome.error}" for outcome in outcomes if outcome.error]
    assert not failures, "\n".join([f"seed {SEED}", *failures])
