"""The hub is killed and started again at once: how long a notebook is out of reach, and the API away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.hubs import HubClient, hub_client
from tests.bench.mocks import MOCK_SPAWNER, MockSite, answering_server, playing_site, start_all, user_names
from tests.bench.peers import PlainHub, plain_hub
from tests.bench.row import Aim, Line, Recorder, Row

MEASURE = "hub kill -9"
FEW, MANY = 40, 1000
PEER = "JupyterHub, mock spawner"
PROBE_S = 0.02
SETTLED_S = 3.0
"""For so long after the API is back the notebook is still asked: JupyterHub checks its routes only then."""


async def measure(folder: Path, repeat: int) -> Row:
    """Forty servers on both sides, by turns; then a thousand of ours."""
    recorder = Recorder()
    problem = ""
    async with AsyncExitStack() as stack:
        site, _ = await stack.enter_async_context(playing_site(folder / "ours", "proxy", "service", "hub"))
        ours = await stack.enter_async_context(hub_client(site.url, site.cli_token))
        port = await stack.enter_async_context(answering_server())
        plain = stack.enter_context(plain_hub(folder / "plain", MOCK_SPAWNER.format(port=port, limit=0)))
        peer = await stack.enter_async_context(hub_client(plain.url, plain.token))
        names = user_names(MANY)
        for hub in (ours, peer):
            await hub.add_users(names[:FEW])
            await start_all(hub, names[:FEW], 10)
        for _ in range(repeat):
            await kill_and_record(recorder, "sampan", ours, lambda: restart_ours(site))
            await kill_and_record(recorder, PEER, peer, lambda: restart_plain(plain))
        try:
            await ours.add_users(names[FEW:])
            await start_all(ours, names[FEW:], 50)
            for _ in range(repeat):
                await kill_and_record(recorder, "many", ours, lambda: restart_ours(site))
        except (AssertionError, TimeoutError) as error:
            problem = f"{error}"[:150]
    return Row("hub_kill", _lines(recorder, problem))


def _lines(recorder: Recorder, problem: str) -> list[Line]:
    def line(words: str, ours: str, moment: str, aim: Aim, peer: str = "", problem: str = "") -> Line:
        theirs = recorder.sample(f"{peer}: {moment}") if peer else None
        return Line(f"{MEASURE}, {words}", "s", recorder.sample(f"{ours}: {moment}"), theirs, aim, problem)

    return [
        line(f"{FEW} servers: user routes down", "sampan", "down", Aim(0), PEER),
        line(f"{FEW} servers: API back", "sampan", "back", Aim(0.5, times_peer=True), PEER),
        line(f"{MANY} servers: user routes down", "many", "down", Aim(0), problem=problem),
        line(f"{MANY} servers: API back", "many", "back", Aim(5), problem=problem),
    ]


def restart_ours(site: MockSite) -> None:
    site.kill("hub")
    site.launch("hub")


def restart_plain(plain: PlainHub) -> None:
    plain.kill()
    plain.spawn()


async def kill_and_record(recorder: Recorder, label: str, hub: HubClient, restart: Callable[[], None]) -> None:
    """Kill and start again once, with a person who keeps asking for their notebook."""
    async with asking(f"{hub.url}/user/{user_names(1)[0]}/api/status") as probe:
        begun_s = time.monotonic()
        await asyncio.to_thread(restart)
        while not await hub.answers():
            await asyncio.sleep(PROBE_S)
            assert time.monotonic() < begun_s + 120, "the hub does not come back"
        recorder.add(f"{label}: back", time.monotonic() - begun_s)
        await asyncio.sleep(SETTLED_S)
    recorder.add(f"{label}: down", probe.down_s)


class Probe:
    """Adds up the time in which a page does not come."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.down_s = 0.0

    async def ask(self) -> None:
        """Until cancelled; an answer other than 200, or none within a second, is time without the page."""
        timeout = aiohttp.ClientTimeout(total=1)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                begun_s = time.monotonic()
                is_there = await self._is_there(session)
                await asyncio.sleep(PROBE_S)
                if not is_there:
                    self.down_s += time.monotonic() - begun_s

    async def _is_there(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(self.url, allow_redirects=False) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False


@asynccontextmanager
async def asking(url: str) -> Any:
    probe = Probe(url)
    task = asyncio.create_task(probe.ask())
    try:
        yield probe
    finally:
        task.cancel()
