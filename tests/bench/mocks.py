"""Notebooks that only pretend, beside our hub and the peer's: one HTTP server answers for all of them."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from sampan_hub.jobs.keys import CredentialKind, make_credential
from sampan_hub.settings.keyfiles import read_key
from tests.bench.hubs import HubClient
from tests.bench.mock_service import mock_run
from tests.system.hub_fixtures import ROOT, Site, until

API = "/services/sampan/api/v1"
SETTINGS = """
isolation: none
backends: {fake: {kind: fake}}
sizes: {small: {cores: 1, memory: 1G}}
"""
MOCK_SPAWNER = """
from jupyterhub.spawner import Spawner
class MockSpawner(Spawner):
    runs = False
    async def start(self):
        self.runs = True
        return "127.0.0.1", {port}
    async def poll(self):
        return None if self.runs else 0
    async def stop(self, now=False):
        self.runs = False
    def get_state(self):
        return {{**super().get_state(), "runs": self.runs}}
    def load_state(self, state):
        super().load_state(state)
        self.runs = state.get("runs", False)
c.JupyterHub.spawner_class = MockSpawner
c.JupyterHub.concurrent_spawn_limit = {limit}
c.JupyterHub.cleanup_servers = False
"""
"""`limit` 0: none."""


@asynccontextmanager
async def answering_server() -> AsyncIterator[int]:
    """The port of the one server that answers 200 to everything, as every mock notebook."""

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({}, headers={"X-JupyterHub-Version": "6.1.1"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        await web.SockSite(runner, listener).start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            await runner.cleanup()


class MockSite(Site):
    """Proxy, hub and service of ours; the service's jobs are played by `play`."""

    def __init__(self, folder: Path, more: str = "") -> None:
        super().__init__(folder, SETTINGS + more, extra_environment={"PYTHONPATH": str(ROOT)})
        self.teller_path = str(folder / "begun")
        self.begun = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.begun.bind(self.teller_path)
        self.begun.setblocking(False)

    def _argv(self, name: str) -> list[str]:
        if name == "service":
            return [sys.executable, "-P", "-m", "tests.bench.mock_service", str(self.ports[name]), self.teller_path]
        return super()._argv(name)

    def credential(self, subject: str, kind: CredentialKind) -> str:
        return make_credential(read_key(self.paths.key("service.key")), subject, kind)

    @property
    def service_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['service']}"

    def pid(self, name: str) -> int:
        return self.processes[name].pid


class Player:
    """Plays the processes of all mock jobs of one site: each claims, then reports the one address."""

    def __init__(self, site: MockSite, session: aiohttp.ClientSession, port: int) -> None:
        self._site = site
        self._session = session
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()
        self.credentials: dict[str, str] = {}
        """By job id, of those that have claimed."""

    async def play(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            job_id, batch, kind = json.loads(await loop.sock_recv(self._site.begun, 4096))
            if kind == "notebook":
                task = asyncio.create_task(self._begin(job_id, batch))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _begin(self, job_id: str, batch: str) -> None:
        body = {"run": mock_run(job_id), "host": "node"}
        claim = await self.ask("POST", f"/jobs/{job_id}/claim", self._site.credential(batch, "bootstrap"), body)
        report = {"address": {"host": "127.0.0.1", "port": self._port}}
        await self.ask("POST", f"/jobs/{job_id}/report", claim["credential"], report)
        self.credentials[job_id] = claim["credential"]

    async def ask(self, method: str, path: str, credential: str, body: Any = None) -> Any:
        """One request to the service; it must go well."""
        headers = {"Authorization": f"Bearer {credential}"}
        url = f"{self._site.service_url}{API}{path}"
        async with self._session.request(method, url, json=body, headers=headers) as answer:
            assert answer.status == 200, (path, answer.status, await answer.text())
            return await answer.json()


@asynccontextmanager
async def playing_site(folder: Path, *names: str, more: str = "") -> AsyncIterator[tuple[MockSite, Player]]:
    """These processes of a site, its mock jobs played."""
    site = MockSite(folder, more)
    try:
        await asyncio.to_thread(site.start, *names)
        connector = aiohttp.TCPConnector(limit=0)
        async with answering_server() as port, aiohttp.ClientSession(connector=connector) as session:
            player = Player(site, session, port)
            playing = asyncio.create_task(player.play())
            yield site, player
            playing.cancel()
    finally:
        site.begun.close()
        await asyncio.to_thread(site.stop)


def user_names(count: int) -> list[str]:
    return [f"user{number:04}" for number in range(count)]


async def start_all(hub: HubClient, names: list[str], at_once: int) -> None:
    """Servers of all of these, so many at a time."""
    gate = asyncio.Semaphore(at_once)

    async def start(name: str) -> None:
        async with gate:
            assert await hub.start(name) != 429, f"the hub refused {name}"

    await asyncio.gather(*(start(name) for name in names))


async def stop_all(hub: HubClient, names: list[str], timeout_s: float = 120) -> None:
    """No server of anybody is left."""
    await asyncio.gather(*(hub.call("DELETE", f"/users/{name}/server") for name in names))

    async def nobody_has_one() -> bool:
        return not (await hub.call("GET", "/users?state=active&limit=1"))[1]

    await until(nobody_has_one, "every server ends", timeout_s)
