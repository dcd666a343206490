"""Workers come and go with the tasks, 0 to 8: makespan over the ideal of eight workers there from the first moment."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from tests.bench.adapting import CELL, SHAPES, WORKERS
from tests.bench.row import Aim, Line, Recorder, Row
from tests.bench.slurm.bed import Bed, lead_ports
from tests.bench.slurm.cluster_start import MAKE_SLURM_CLUSTER, SLURM_CLUSTER
from tests.bench.slurm.peers import node_python

MEASURE = "adapt 0→8: makespan ÷ ideal, 200 × 0.5 s"
OURS = "from sampan import Cluster\ncluster = Cluster(adapt=(0, 8))\nclient = cluster.get_client()"
THEIRS = (
    f"from dask_jobqueue import SLURMCluster\n{MAKE_SLURM_CLUSTER}\n"
    "cluster.adapt(minimum=0, maximum=8)\nclient = Client(cluster)"
)
AT_MOST = 3
"""Each repetition takes the better part of a minute."""


async def measure(bed: Bed, repeat: int) -> Row:
    """Ours and the peer's by turns, each cluster made anew."""
    lead_ports(bed.cluster)
    recorder = Recorder()
    values, _limit = SHAPES["even"]
    async with AsyncExitStack() as stack:
        peer = stack.enter_context(node_python(bed))
        ours = await stack.enter_async_context(bed.notebook_python())
        for _ in range(min(repeat, AT_MOST)):
            for side, python, make in (("sampan", ours, OURS), (SLURM_CLUSTER, peer, THEIRS)):
                answer = await python.ask(CELL.format(make=make, workers=WORKERS, **values))
                recorder.add(side, float(answer))
                await asyncio.to_thread(bed.until_only_notebook)
    line = Line(f"{MEASURE}, {bed.words}", "×", recorder.sample("sampan"), recorder.sample(SLURM_CLUSTER), Aim(1.3))
    return Row("adapting", [line], note="Making the cluster is not counted on either side.")
