"""Click -> notebook answers, as a job of the cluster; and what each spawn asks of slurmctld."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from tests.bench.hubs import HubClient
from tests.bench.row import Aim, Line, Recorder, Row
from tests.bench.slurm.bed import NAME, Bed, lead_ports
from tests.bench.slurm.peers import BATCHSPAWNER, batchspawner_hub

MEASURE = "click → notebook answers"
OURS = "sampan"
USERS = {OURS: ("sampan", NAME), BATCHSPAWNER: (NAME,)}
"""Whose RPCs count: those that are sent for a spawn, and everything else that ours asks meanwhile."""


async def measure(bed: Bed, repeat: int) -> Row:
    """Ours and the peer's by turns; one start of each before the first that counts."""
    lead_ports(bed.cluster)
    recorder = Recorder()
    async with AsyncExitStack() as stack:
        hubs = {
            OURS: await stack.enter_async_context(bed.hub()),
            BATCHSPAWNER: await stack.enter_async_context(batchspawner_hub(bed)),
        }
        tokens = {label: await hub.token_of(NAME) for label, hub in hubs.items()}
        for number in range(repeat + 1):
            for label, hub in hubs.items():
                took_s, asked = await click(bed, label, hub, tokens[label])
                if number:
                    recorder.add(label, took_s)
                    recorder.add(f"{label}: RPC", asked)
                await hub.stop(NAME)
                await asyncio.to_thread(bed.until_idle)
    return Row(
        "notebook_start",
        [
            Line(f"{MEASURE}, {bed.words}", "s", recorder.sample(OURS), recorder.sample(BATCHSPAWNER),
                 Aim(0.55, times_peer=True)),
            Line(f"RPC of slurmctld per spawn, wait included, {bed.words}", "", recorder.sample(f"{OURS}: RPC"),
                 recorder.sample(f"{BATCHSPAWNER}: RPC"), Aim(3)),
        ],
    )  # fmt: skip


async def click(bed: Bed, label: str, hub: HubClient, token: str) -> tuple[float, int]:
    """Seconds until the server answers, and the RPCs until then."""
    asked_before = await asyncio.to_thread(bed.requests, *USERS[label])
    begun_s = time.monotonic()
    assert await hub.start(NAME) != 429, "the hub refused the start"
    await hub.until_server_answers(NAME, token)
    took_s = time.monotonic() - begun_s
    return took_s, await asyncio.to_thread(bed.requests, *USERS[label]) - asked_before
