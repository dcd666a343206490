"""`Cluster(4)` -> first result, and all four: beside LocalCluster and dask-gateway with its local backend."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

from tests.bench.peers import PeerPython, gateway
from tests.bench.row import Aim, Line, Recorder, Row
from tests.bench.sites import CAN_FORK, NO_FORK, installation, notebook_python

MEASURE = "Cluster(4)"
LOCAL, GATEWAY = "LocalCluster", "dask-gateway, local"
CELL = """
import json, time
{imports}
begun = time.perf_counter()
{make}
client.submit(pow, 2, 10, pure=False).result(timeout=120)
first = time.perf_counter() - begun
client.wait_for_workers(4, timeout=120)
assert len(client.run(lambda: None)) >= 4
every = time.perf_counter() - begun
client.close()
cluster.close()
print("ANSWER", json.dumps([first, every]))
"""
OURS = CELL.format(
    imports="from sampan import Cluster\nfrom distributed import Client",
    make="cluster = Cluster(4, size='worker')\nclient = cluster.get_client()",
)
LOCAL_CELL = CELL.format(
    imports="from distributed import Client, LocalCluster",
    make="cluster = LocalCluster(n_workers=4, threads_per_worker=1, dashboard_address=':0')\nclient = Client(cluster)",
)


def gateway_cell(address: str) -> str:
    return CELL.format(
        imports="from dask_gateway import BasicAuth, Gateway",
        make=f"gateway = Gateway({address!r}, auth=BasicAuth('ana'))\n"
        "cluster = gateway.new_cluster()\ncluster.scale(4)\nclient = cluster.get_client()",
    )


class Python(Protocol):
    """Runs a cell and gives what it answered."""

    async def ask(self, code: str, timeout_s: float = 300) -> list[float]: ...


async def measure(folder: Path, repeat: int) -> Row:
    """Everybody by turns; one cluster of each before the first that counts."""
    recorder = Recorder()
    async with AsyncExitStack() as stack:
        sides = await _open_sides(stack, folder)
        for number in range(repeat + 1):
            for label, (python, cell) in sides.items():
                first_s, every_s = await python.ask(cell)
                if number:
                    recorder.add(f"{label}: first", first_s)
                    recorder.add(f"{label}: all", every_s)
    return Row("cluster_start", _lines(recorder))


async def _open_sides(stack: AsyncExitStack, folder: Path) -> Mapping[str, tuple[Python, str]]:
    sides: dict[str, tuple[Python, str]] = {}
    for label, forked in (("fresh", False), ("forked", True)):
        if CAN_FORK or not forked:
            site = stack.enter_context(installation(folder / label, forked=forked))
            sides[label] = await stack.enter_async_context(notebook_python(site)), OURS
    peer = await PeerPython.start(folder)
    stack.push_async_callback(peer.stop)
    sides[LOCAL] = peer, LOCAL_CELL
    address = stack.enter_context(gateway(folder / "gateway"))
    sides[GATEWAY] = peer, gateway_cell(address)
    return sides


def _lines(recorder: Recorder) -> list[Line]:
    lines = []
    for moment, words in (("first", "first result"), ("all", "all four")):
        for label in ("fresh", "forked"):
            problem = NO_FORK if label == "forked" and not CAN_FORK else ""
            ours = recorder.sample(f"{label}: {moment}")
            limit = 0.65 if label == "fresh" else 0.4
            for peer, aim in ((LOCAL, Aim(limit, times_peer=True)), (GATEWAY, Aim(0.3, times_peer=True))):
                name = f"{MEASURE} → {words}, {label}"
                lines.append(Line(name, "s", ours, recorder.sample(f"{peer}: {moment}"), aim, problem))
    return lines
