"""200 people press Start at the same moment; the servers only pretend, so the hub and the service are all there is."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

from tests.bench.hubs import HubClient, hub_client
from tests.bench.mocks import MOCK_SPAWNER, answering_server, playing_site, stop_all, user_names
from tests.bench.peers import plain_hub
from tests.bench.row import Aim, Line, Recorder, Row

MEASURE = "200 mock notebooks at once"
COUNT = 200
PEER, STOCK = "JupyterHub, mock spawner", "JupyterHub, stock limits"


async def measure(folder: Path, repeat: int) -> Row:
    """Ours and two of the peer's by turns: its limit lifted for the time, kept for the refusals."""
    recorder = Recorder()
    names = user_names(COUNT)
    async with AsyncExitStack() as stack:
        site, _ = await stack.enter_async_context(playing_site(folder / "ours", "proxy", "service", "hub"))
        port = await stack.enter_async_context(answering_server())
        hubs = {"sampan": await stack.enter_async_context(hub_client(site.url, site.cli_token))}
        for label, limit in ((PEER, 0), (STOCK, 100)):
            plain = stack.enter_context(plain_hub(folder / label[-5:], MOCK_SPAWNER.format(port=port, limit=limit)))
            hubs[label] = await stack.enter_async_context(hub_client(plain.url, plain.token))
        for hub in hubs.values():
            await hub.add_users(names)
        for _ in range(repeat):
            for label, hub in hubs.items():
                slowest_s, refused = await start_together(hub, names)
                recorder.add(f"{label}: slowest", slowest_s)
                recorder.add(f"{label}: refused", refused)
    return Row(
        "burst",
        [
            Line(f"{MEASURE}: slowest is ready", "s", recorder.sample("sampan: slowest"),
                 recorder.sample(f"{PEER}: slowest"), Aim(1, times_peer=True)),
            Line(f"{MEASURE}: refused (429)", "", recorder.sample("sampan: refused"),
                 recorder.sample(f"{STOCK}: refused"), Aim(0)),
        ],
    )  # fmt: skip


async def start_together(hub: HubClient, names: list[str]) -> tuple[float, int]:
    """Seconds until the last is ready, and how many were refused."""
    begun_s = time.monotonic()
    statuses = await asyncio.gather(*(hub.start(name) for name in names))
    slowest_s = time.monotonic() - begun_s
    await stop_all(hub, names)
    return slowest_s, statuses.count(429)
