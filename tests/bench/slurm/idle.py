"""What idle notebooks ask of slurmctld, a hundred and a thousand of them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from tests.bench.hubs import HubClient
from tests.bench.row import Aim, Line, Recorder, Row, Sample
from tests.bench.slurm.bed import NAME, Bed, lead_ports
from tests.bench.slurm.mock_jobs import ensure_notebooks
from tests.bench.slurm.peers import BATCHSPAWNER, batchspawner_hub

MEASURE = "RPC of slurmctld per minute"
FEW, MANY = 100, 1000
PEERS_SERVERS = 4
WINDOW_S = 120.0
SETTLED_S = 35.0
"""After the last start the backend is looked at seldom: one such look is waited for."""
ANY_PORT = (32768, 60999)


async def measure(bed: Bed, _repeat: int) -> Row:
    """One window of two minutes each; the peer has four servers beside our hundred, and is charged for a hundred."""
    recorder = Recorder()
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(batchspawner_hub(bed))
        lead_ports(bed.cluster)
        names = [f"s{number}" for number in range(PEERS_SERVERS)]
        await asyncio.gather(*(start_named(hub, name) for name in names))
        lead_ports(bed.cluster, ANY_PORT)
        await asyncio.to_thread(ensure_notebooks, bed, FEW)
        ours, theirs = await count(bed)
        recorder.add(f"{FEW}", ours)
        recorder.add(BATCHSPAWNER, theirs * FEW / PEERS_SERVERS)
        await asyncio.gather(*(hub.call("DELETE", f"/users/{NAME}/servers/{name}") for name in names))
    await asyncio.to_thread(ensure_notebooks, bed, MANY)
    ours, _ = await count(bed)
    recorder.add(f"{MANY}", ours)
    return Row("idle", _lines(recorder), note=f"Counted over {WINDOW_S:.0f} s; batchspawner's is of {PEERS_SERVERS}.")


def _lines(recorder: Recorder) -> list[Line]:
    def line(number: int, peer: Sample | None) -> Line:
        words = f"{MEASURE}, {number} idle notebooks"
        return Line(words, "", recorder.sample(f"{number}"), peer, Aim(8))

    return [line(FEW, recorder.sample(BATCHSPAWNER)), line(MANY, None)]


async def start_named(hub: HubClient, name: str) -> None:
    """One of the peer's servers, running."""
    status, body = await hub.call("POST", f"/users/{NAME}/servers/{name}", {})
    assert status in (201, 202), body
    for _ in range(1200):
        _, user = await hub.call("GET", f"/users/{NAME}")
        if user["servers"].get(name, {}).get("ready"):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"the peer's server {name} did not start")


async def count(bed: Bed) -> tuple[float, float]:
    """Per minute: what our service asks, and what is asked as the person (by the peer)."""
    await asyncio.sleep(SETTLED_S)
    before = bed.requests("sampan"), bed.requests(NAME)
    await asyncio.sleep(WINDOW_S)
    after = bed.requests("sampan"), bed.requests(NAME)
    ours, theirs = (60 * (late - early) / WINDOW_S for early, late in zip(before, after, strict=True))
    return ours, theirs
