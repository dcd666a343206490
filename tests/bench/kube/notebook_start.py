"""Click -> notebook answers, as a pod whose image is on the node."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

from tests.bench.hubs import HubClient
from tests.bench.kube.bed import NAME, NOTEBOOK, Bed
from tests.bench.kube.kubespawner import KUBESPAWNER, kubespawner_hub
from tests.bench.row import Aim, Line, Recorder, Row

MEASURE = "click → notebook answers"
OURS = "sampan"
OPTIONS: dict[str, dict[str, Any]] = {OURS: {"size": "notebook"}, KUBESPAWNER: {}}


async def measure(bed: Bed, repeat: int) -> Row:
    """Ours and the peer's by turns; one start of each before the first that counts, which also makes the homes."""
    recorder = Recorder()
    async with AsyncExitStack() as stack:
        hubs: dict[str, HubClient] = {
            OURS: await stack.enter_async_context(bed.hub()),
            KUBESPAWNER: await stack.enter_async_context(kubespawner_hub(bed.kube, bed.peers, *NOTEBOOK)),
        }
        await hubs[KUBESPAWNER].add_users([NAME])
        tokens = {label: await hub.token_of(NAME) for label, hub in hubs.items()}
        for number in range(repeat + 1):
            for label, hub in hubs.items():
                took_s = await click(hub, tokens[label], OPTIONS[label])
                if number:
                    recorder.add(label, took_s)
                await hub.stop(NAME)
                await asyncio.to_thread(until_gone, bed)
    peer = recorder.sample(KUBESPAWNER)
    return Row(
        "notebook_start",
        [Line(f"{MEASURE}, image present", "s", recorder.sample(OURS), peer, Aim(0.6, times_peer=True))],
    )


async def click(hub: HubClient, token: str, options: dict[str, Any]) -> float:
    """Seconds until the server answers."""
    begun_s = time.monotonic()
    assert await hub.start(NAME, options) != 429, "the hub refused the start"
    await hub.until_server_answers(NAME, token)
    return time.monotonic() - begun_s


def until_gone(bed: Bed) -> None:
    """No pod of either side's notebook holds room on the node."""
    bed.until_no_jobs()
    bed.until_no_pods(bed.peers, "component=singleuser-server")
