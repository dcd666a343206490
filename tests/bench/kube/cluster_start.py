"""`Cluster(4)` -> first result, and all four, beside dask-kubernetes with its operator."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from tests.bench.cluster_start import CELL, Python
from tests.bench.kube import images
from tests.bench.kube.bed import KERNEL, WORKER, Bed
from tests.bench.kube.dask_operator import operator_python
from tests.bench.kube.objects import make_resources
from tests.bench.row import Aim, Line, Recorder, Row

MEASURE = "Cluster(4)"
OURS, OPERATOR = "sampan", "dask-kubernetes, operator"
GATEWAY = (
    "dask-gateway's Kubernetes backend was not run: its clients come in through Traefik, "
    "for which no image can be had without a registry"
)
OUR_CELL = CELL.format(
    imports="from sampan import Cluster\nfrom distributed import Client",
    make="cluster = Cluster(4, size='worker')\nclient = cluster.get_client()",
)


async def measure(bed: Bed, repeat: int) -> Row:
    """By turns; one cluster of each before the first that counts."""
    recorder = Recorder()
    async with AsyncExitStack() as stack:
        peer = await stack.enter_async_context(operator_python(bed.kube, bed.peers, *KERNEL))
        ours = await stack.enter_async_context(bed.notebook_python())
        sides: dict[str, tuple[Python, str]] = {OURS: (ours, OUR_CELL), OPERATOR: (peer, operator_cell(bed.peers))}
        for number in range(repeat + 1):
            for label, (python, cell) in sides.items():
                first_s, every_s = await python.ask(cell)
                await asyncio.to_thread(until_only_notebooks, bed)
                if number:
                    recorder.add(f"{label}: first", first_s)
                    recorder.add(f"{label}: all", every_s)
    lines = []
    for moment, words in (("first", "first result"), ("all", "all four")):
        ours_sample, peers_sample = (recorder.sample(f"{label}: {moment}") for label in (OURS, OPERATOR))
        lines.append(Line(f"{MEASURE} → {words}", "s", ours_sample, peers_sample, Aim(0.5, times_peer=True)))
    return Row("cluster_start", lines, note=f"{GATEWAY}.")


def operator_cell(namespace: str) -> str:
    """With its own defaults, but for size and image."""
    return CELL.format(
        imports="from dask_kubernetes.operator import KubeCluster\nfrom distributed import Client",
        make=f"cluster = KubeCluster(namespace={namespace!r}, image={images.PEERS!r}, n_workers=4, quiet=True, "
        f"resources={make_resources(*WORKER)!r})\nclient = Client(cluster)",
    )


def until_only_notebooks(bed: Bed) -> None:
    """No scheduler or worker of either side holds room on the node."""
    for kind in ("worker", "scheduler"):
        bed.until_no_jobs(kind=kind)
    bed.until_no_pods(bed.peers, "dask.org/cluster-name")
