"""`Cluster(4)` -> first result, and all four, beside SLURMCluster and dask-gateway with its Slurm backend."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from tests.bench.cluster_start import CELL, Python, gateway_cell
from tests.bench.row import Aim, Line, Recorder, Row
from tests.bench.slurm.bed import NAME, Bed, lead_ports
from tests.bench.slurm.environment import ENVIRONMENT
from tests.bench.slurm.peers import gateway, node_python

MEASURE = "Cluster(4)"
SLURM_CLUSTER, GATEWAY = "SLURMCluster", "dask-gateway, Slurm"
OURS = CELL.format(
    imports="from sampan import Cluster\nfrom distributed import Client",
    make="cluster = Cluster(4)\nclient = cluster.get_client()",
)
MAKE_SLURM_CLUSTER = (
    "cluster = SLURMCluster(cores=1, memory='700MB', queue='compute', walltime='00:30:00', interface='eth0', "
    f"python='{ENVIRONMENT}/bin/python', scheduler_options={{'dashboard_address': ':0'}})"
)
SLURM_CELL = CELL.format(
    imports="from dask_jobqueue import SLURMCluster\nfrom distributed import Client",
    make=f"{MAKE_SLURM_CLUSTER}\ncluster.scale(4)\nclient = Client(cluster)",
)
LIMITS = {"stock": 0.8, "delay0": 0.5}


async def measure(bed: Bed, repeat: int) -> Row:
    """Everybody by turns; one cluster of each before the first that counts."""
    lead_ports(bed.cluster)
    recorder = Recorder()
    problems: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        peer = stack.enter_context(node_python(bed))
        address = stack.enter_context(gateway(bed))
        ours = await stack.enter_async_context(bed.notebook_python())
        sides: dict[str, tuple[Python, str]] = {
            "sampan": (ours, OURS),
            SLURM_CLUSTER: (peer, SLURM_CELL),
            GATEWAY: (peer, gateway_cell(address).replace("BasicAuth('ana')", f"BasicAuth('{NAME}')")),
        }
        for number in range(repeat + 1):
            for label, (python, cell) in sides.items():
                if label in problems:
                    continue
                try:
                    first_s, every_s = await python.ask(cell)
                except (RuntimeError, TimeoutError) as error:
                    if label == "sampan":
                        raise
                    problems[label] = f"{label} did not run: {error}"
                    continue
                await asyncio.to_thread(bed.until_only_notebook)
                if number:
                    recorder.add(f"{label}: first", first_s)
                    recorder.add(f"{label}: all", every_s)
    return Row("cluster_start", _lines(bed, recorder, problems))


def _lines(bed: Bed, recorder: Recorder, problems: dict[str, str]) -> list[Line]:
    lines = []
    for moment, words in (("first", "first result"), ("all", "all four")):
        ours = recorder.sample(f"sampan: {moment}")
        for peer, aim in ((SLURM_CLUSTER, Aim(LIMITS[bed.profile], times_peer=True)), (GATEWAY, None)):
            name = f"{MEASURE} → {words}, {bed.words}"
            lines.append(Line(name, "s", ours, recorder.sample(f"{peer}: {moment}"), aim, problems.get(peer, "")))
    return lines
