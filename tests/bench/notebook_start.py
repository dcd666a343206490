"""Click -> notebook answers: from asking the hub for a server until that answers through the proxy."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from pathlib import Path

from tests.bench.hubs import HubClient, hub_client
from tests.bench.peers import plain_hub
from tests.bench.row import Aim, Line, Recorder, Row
from tests.bench.sites import CAN_FORK, NAME, NO_FORK, cli_token, installation

MEASURE = "click → notebook answers"
PEER = "JupyterHub, SimpleLocalProcessSpawner"


async def measure(folder: Path, repeat: int) -> Row:
    """Fresh, forked and the peer's by turns; one start of each before the first that counts."""
    recorder = Recorder()
    async with AsyncExitStack() as stack:
        hubs: dict[str, HubClient] = {}
        for label, forked in (("fresh", False), ("forked", True)):
            if forked and not CAN_FORK:
                continue
            site = stack.enter_context(installation(folder / label, forked=forked))
            hubs[label] = await stack.enter_async_context(hub_client(site.url, cli_token(site)))
        plain = stack.enter_context(plain_hub(folder / "plain"))
        hubs[PEER] = await stack.enter_async_context(hub_client(plain.url, plain.token))
        await hubs[PEER].add_users([NAME])
        tokens = {label: await hub.token_of(NAME) for label, hub in hubs.items()}
        for number in range(repeat + 1):
            for label, hub in hubs.items():
                took_s = await click(hub, tokens[label])
                if number:
                    recorder.add(label, took_s)
    peer = recorder.sample(PEER)
    fresh, forked_sample = recorder.sample("fresh"), recorder.sample("forked")
    return Row(
        "notebook_start",
        [
            Line(f"{MEASURE}, fresh process", "s", fresh, peer, Aim(0.6, times_peer=True)),
            Line(f"{MEASURE}, forked", "s", forked_sample, peer, Aim(0.25, times_peer=True),
                 "" if CAN_FORK else NO_FORK),
        ],
    )  # fmt: skip


async def click(hub: HubClient, token: str) -> float:
    """Seconds; the server is stopped again."""
    begun_s = time.monotonic()
    status = await hub.start(NAME)
    assert status != 429, "the hub refused the start"
    await hub.until_server_answers(NAME, token)
    took_s = time.monotonic() - begun_s
    await hub.stop(NAME)
    return took_s
