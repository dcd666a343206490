"""400 workers in one request: until all are in Slurm's queue, and what that asks of slurmctld."""

from __future__ import annotations

import time

from tests.bench.row import Aim, Line, Recorder, Row
from tests.bench.slurm.bed import NAME, Bed
from tests.bench.slurm.mock_jobs import MockCluster
from tests.support.installation import wait_until

MEASURE = "400 workers submitted"
COUNT = 400
UNSENT = ("accepted", "submitting")


async def measure(bed: Bed, repeat: int) -> Row:
    """They wait in the queue, for all nodes are being drained; then they are stopped again."""
    recorder = Recorder()
    cluster = MockCluster(bed)
    bed.cluster.drain(*bed.cluster.nodes)
    try:
        for _ in range(repeat):
            asked_before = bed.requests("sampan", NAME)
            begun_s = time.monotonic()
            ids = cluster.submit(COUNT)
            recorder.add("answered", time.monotonic() - begun_s)
            wait_until(lambda: not any(cluster.states()[state] for state in UNSENT), 120, "all workers sent")
            recorder.add("sent", time.monotonic() - begun_s)
            recorder.add("asked", bed.requests("sampan", NAME) - asked_before)
            cluster.stop(ids)
    finally:
        bed.cluster.resume(*bed.cluster.nodes)
    return Row(
        "scaling",
        [
            Line(f"{MEASURE}: answered", "s", recorder.sample("answered")),
            Line(f"{MEASURE}: in Slurm's queue and on record", "s", recorder.sample("sent"), aim=Aim(2)),
            Line(f"{MEASURE}: RPC of slurmctld", "", recorder.sample("asked"), aim=Aim(4)),
        ],
        note="SLURMCluster calls sbatch 400 times.",
    )
