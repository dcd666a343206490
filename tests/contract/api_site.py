"""A whole compute service for one test: real store, real HTTP, the fake backend and a hub that knows four people."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from sampan_hub.backends.base import Backend
from sampan_hub.backends.fake import FakeBackend
from sampan_hub.jobs.keys import CredentialKind, make_credential
from sampan_hub.jobs.model import Resources
from sampan_hub.service.context import Context
from sampan_hub.service.server import Server
from sampan_hub.service.start import make_context
from sampan_hub.settings.model import (
    BackendSettings,
    Environment,
    Limit,
    Limits,
    LocalBackend,
    Project,
    Settings,
    Size,
)

GIB = 2**30
BASE = "/services/sampan"
API = f"{BASE}/api/v1"

PEOPLE: dict[str, dict[str, Any]] = {
    "token-of-ana": {"kind": "user", "name": "ana", "admin": False, "scopes": ["access:services!service=sampan"]},
    "token-of-ben": {"kind": "user", "name": "ben", "admin": False, "scopes": ["users!user=ben"]},
    "token-of-eve": {"kind": "user", "name": "eve", "admin": True, "scopes": ["access:services", "admin:users"]},
    "narrow-token-of-ana": {"kind": "user", "name": "ana", "admin": False, "scopes": ["access:servers!server=ana/"]},
    "narrow-token-of-eve": {"kind": "user", "name": "eve", "admin": True, "scopes": ["access:services"]},
    "token-of-a-service": {"kind": "service", "name": "other", "admin": True, "scopes": ["access:services"]},
}


class ListeningBackend(FakeBackend):
    """The fake backend, with listeners that a test gives to jobs."""

    def __init__(self, name: str, total: Resources | None = None) -> None:
        super().__init__(name, total=total)
        self.listeners: set[tuple[str, str, int]] = set()

    async def owns_listener(self, job_id: str, host: str, port: int) -> bool:
        return (job_id, host, port) in self.listeners


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: Any
    headers: Mapping[str, str]
    took_s: float


@dataclass(slots=True)
class ApiSite:
    """One running service and everybody's way to it."""

    context: Context
    backend: ListeningBackend
    session: aiohttp.ClientSession
    root: str
    hub_questions: list[str] = field(default_factory=list)
    hub_status: int = 200
    """What the pretended hub answers; anything else than 200 is its failure."""

    def credential(self, subject: str, kind: CredentialKind) -> str:
        return make_credential(self.context.keys.service, subject, kind)

    @property
    def hub(self) -> str:
        return self.credential("hub", "hub")

    @property
    def admin(self) -> str:
        return self.credential("cli", "admin")

    async def call(self, method: str, path: str, credential: str | None, body: Any = None, **query: Any) -> Reply:
        """One request below the API; `credential` is sent as Bearer, JupyterHub tokens included."""
        headers = {} if credential is None else {"Authorization": f"Bearer {credential}"}
        return await self.raw(method, API + path, headers=headers, json=body, params=query)

    async def raw(self, method: str, path: str, **options: Any) -> Reply:
        begun = time.monotonic()
        async with self.session.request(method, self.root + path, **options) as answer:
            is_json = "json" in answer.content_type
            content = await answer.json(content_type=None) if is_json else await answer.text()
            return Reply(answer.status, content, dict(answer.headers), time.monotonic() - begun)

    async def start_notebook(self, owner: str = "ana", name: str = "", **base: Any) -> dict[str, Any]:
        """A notebook as the hub asks for it."""
        request = {
            "batch": f"notebook-{owner}-{name}-{time.monotonic_ns()}",
            "base": {"kind": "notebook", "owner": owner, **base},
            "items": [{"name": name}],
        }
        reply = await self.call("POST", "/jobs", self.hub, request)
        assert reply.status == 200, reply.body
        item = reply.body["items"][0]
        assert item["status"] == "accepted", item
        return item["job"]

    async def claim(self, job: Mapping[str, Any], run: str | None = None) -> Reply:
        """The claim of the job's own process (or of another `run`)."""
        await self.until(lambda: self.has_started(job["id"]))
        token = run or self.backend.run_of(job["id"]).token
        body = {"run": token, "host": "node"}
        return await self.call("POST", f"/jobs/{job['id']}/claim", self.credential(job["batch"], "bootstrap"), body)

    async def has_started(self, job_id: str) -> bool:
        return job_id in self.backend.runs_begun

    async def claimed_notebook(self, owner: str = "ana", name: str = "") -> tuple[dict[str, Any], str]:
        """A notebook that claimed, and its credential."""
        job = await self.start_notebook(owner, name)
        reply = await self.claim(job)
        assert reply.status == 200, reply.body
        return job, reply.body["credential"]

    async def make_cluster(self, notebook: str, name: str = "calc", **request: Any) -> tuple[dict[str, Any], str]:
        """A cluster and its host's credential."""
        reply = await self.call("POST", "/clusters", notebook, {"name": name, **request})
        assert reply.status == 200, reply.body
        return reply.body["cluster"], reply.body["credential"]

    async def submit_workers(self, credential: str, cluster: str, names: list[str], **base: Any) -> Reply:
        request = {
            "batch": f"workers-{time.monotonic_ns()}",
            "base": {"kind": "worker", "cluster": cluster, **base},
            "items": [{"name": name} for name in names],
        }
        return await self.call("POST", "/jobs", credential, request)

    async def job(self, job_id: str) -> dict[str, Any]:
        return (await self.call("GET", f"/jobs/{job_id}", self.admin)).body

    async def until_state(self, job_id: str, state: str) -> dict[str, Any]:
        """The job as soon as it is in this state."""

        async def there() -> bool:
            return (await self.job(job_id))["state"] == state

        await self.until(there)
        return await self.job(job_id)

    async def until(self, condition: Callable[[], Awaitable[bool]], timeout_s: float = 15) -> None:
        deadline = time.monotonic() + timeout_s
        while not await condition():
            assert time.monotonic() < deadline, "the condition did not come true"
            await asyncio.sleep(0.02)


def make_settings(state_dir: Path, **changes: Any) -> Settings:
    """A site with priced sizes, a project with members, and limits that are easy to reach."""
    settings = {
        "state_dir": state_dir,
        "currency": "EUR",
        "sizes": {
            "small": Size(cores=1, memory=GIB, price_per_hour="0.5"),
            "big": Size(cores=4, memory=4 * GIB),
            "gpu": Size(cores=1, memory=GIB, gpus=1),
        },
        "default_size": "small",
        "environments": {"default": Environment(prefix=Path("/opt/env"), variables={"LANG": "C.UTF-8"})},
        "default_environment": "default",
        "projects": {
            "common": Project(tenant="house", sizes=("small", "big")),
            "lab": Project(tenant="lab", members=("ben",)),
        },
        "limits": Limits(user=Limit(cores=40.0), raised_by="the help desk"),
        "backends": {"fake": {"kind": "fake"}},
    }
    return Settings(**{**settings, **changes})


@asynccontextmanager
async def running_site(state_dir: Path, settings: Settings | None = None) -> AsyncIterator[ApiSite]:
    """Serves for the length of the block."""
    settings = settings or make_settings(state_dir)
    port, hub_port = free_port(), free_port()
    _settle_ports(state_dir, hub_port, port)
    backend = ListeningBackend("fake")

    def make_backends(*_: object) -> Mapping[str, Backend]:
        others = {name: other for name, other in settings.backends.items() if name != "fake"}
        return {"fake": backend} | {name: _stand_in(name, other) for name, other in others.items()}

    context = make_context(settings, port, backends_maker=make_backends)
    server = Server(context, port)
    async with aiohttp.ClientSession() as session:
        site = ApiSite(context, backend, session, f"http://127.0.0.1:{port}")
        async with _pretended_hub(site, hub_port):
            serving = asyncio.create_task(server.serve())
            try:
                await site.until(_answers(server))
                yield site
            finally:
                server.end()
                await serving


def _stand_in(name: str, backend: BackendSettings) -> FakeBackend:
    """With the room of a local one, and no queue, where the settings say so."""
    if not isinstance(backend, LocalBackend) or backend.cores is None or backend.memory is None:
        return FakeBackend(name)
    return FakeBackend(name, total=Resources(round(1000 * backend.cores), backend.memory), queues=False)


def _settle_ports(state_dir: Path, hub_port: int, port: int) -> None:
    """What `sampan up` leaves for the service."""
    (state_dir / "run").mkdir(mode=0o700, parents=True, exist_ok=True)
    ports = {"public": 8000, "proxy_api": free_port(), "hub": hub_port, "service": port}
    (state_dir / "run" / "ports.json").write_text(json.dumps(ports))


def _answers(server: Server) -> Callable[[], Awaitable[bool]]:
    async def started() -> bool:
        return server.started

    return started


@asynccontextmanager
async def _pretended_hub(site: ApiSite, port: int) -> AsyncIterator[None]:
    async def user(request: web.Request) -> web.Response:
        scheme, _, token = request.headers["Authorization"].partition(" ")
        site.hub_questions.append(token)
        if site.hub_status != 200:
            return web.Response(status=site.hub_status)
        if scheme != "token" or token not in PEOPLE:
            return web.json_response({"status": 403}, status=403)
        return web.json_response(PEOPLE[token])

    app = web.Application()
    app.router.add_get("/hub/api/user", user)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
