"""A small API server for tests: objects by kind and name, versions, watches, and faults on request."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from sampan_hub.settings.access import Access

Json = dict[str, Any]
NAMESPACE = "science"
Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


def status(code: int, reason: str, message: str = "") -> web.Response:
    """A refusal as the API server words it."""
    body = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message or reason}
    return web.json_response(body, status=code)


class KubeServer:
    """Pods can be watched; everything else is there or not. Nothing happens to a pod but what a test does."""

    def __init__(self) -> None:
        self.version = 100
        self.objects: defaultdict[str, dict[str, Json]] = defaultdict(dict)
        self.logs: dict[str, bytes] = {}
        self.requests: list[str] = []
        """`POST pods`, `GET pods`, `WATCH pods` … in order."""
        self.bodies: list[Json] = []
        self.fault: Fault | None = None
        """Asked before each request; what it answers is the answer."""
        self.namespace_uid = "namespace-1"
        self.keeps_deleted = False
        """Whether deleted pods stay until a test removes them, as on a node that is slow to end them."""
        self.oldest = 0
        """Watches from before this version are answered 410."""
        self._history: list[tuple[int, Json]] = []
        self._changed = asyncio.Condition()
        self._watches: set[asyncio.Task[Any]] = set()
        self.url = ""

    @property
    def access(self) -> Access:
        return Access(self.url, NAMESPACE)

    def count(self, request: str) -> int:
        return Counter(self.requests)[request]

    # ---- what a test does

    async def put_pod(self, pod: Json, kind: str = "ADDED") -> Json:
        """Make or change a pod, as the cluster does."""
        self.version += 1
        metadata = {"uid": f"uid-{self.version}", **pod["metadata"], "resourceVersion": str(self.version)}
        made = {"status": {"phase": "Pending"}, **pod, "metadata": metadata}
        self.objects["pods"][metadata["name"]] = made
        await self._tell(kind, made)
        return made

    async def set_status(self, name: str, pod_status: Json) -> None:
        pod = self.objects["pods"][name]
        await self.put_pod({**pod, "status": pod_status}, "MODIFIED")

    async def remove_pod(self, name: str) -> None:
        pod = self.objects["pods"].pop(name)
        self.version += 1
        await self._tell("DELETED", {**pod, "metadata": {**pod["metadata"], "resourceVersion": str(self.version)}})

    async def bookmark(self) -> None:
        self.version += 1
        await self._tell("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": str(self.version)}})

    async def break_watches(self) -> None:
        """Every watch's connection is cut."""
        watches = list(self._watches)
        for task in watches:
            task.cancel()
        await asyncio.gather(*watches, return_exceptions=True)

    def watches(self) -> int:
        return len(self._watches)

    async def _tell(self, kind: str, pod: Json) -> None:
        async with self._changed:
            self._history.append((self.version, {"type": kind, "object": pod}))
            self._changed.notify_all()

    # ---- what a client sees

    async def handle(self, request: web.Request) -> web.StreamResponse:
        parts = request.path.strip("/").split("/")
        at = parts.index("namespaces") + 2 if "namespaces" in parts else 2
        kind, *rest = parts[at:] or ["namespace"]
        method = "WATCH" if request.query.get("watch") else request.method
        self.requests.append(f"{method} {'/'.join([kind, *rest[1:]])}")
        if self.fault is not None:
            answer = await self.fault(request)
            if answer is not None:
                return answer
        if kind == "namespace":
            return web.json_response({"metadata": {"name": NAMESPACE, "uid": self.namespace_uid}})
        if method == "WATCH":
            return await self._watch(request)
        if rest[1:] == ["log"]:
            return self._log(rest[0])
        return await getattr(self, f"_{method.lower()}")(kind, rest[0] if rest else None, request)

    def _log(self, name: str) -> web.StreamResponse:
        if name not in self.objects["pods"]:
            return status(404, "NotFound")
        return web.Response(body=self.logs.get(name, b""))

    async def _get(self, kind: str, name: str | None, request: web.Request) -> web.StreamResponse:
        if name is not None:
            found = self.objects[kind].get(name)
            return web.json_response(found) if found is not None else status(404, "NotFound")
        items = [item for item in self.objects[kind].values() if _matches(item, request.query.get("labelSelector", ""))]
        start, limit = int(request.query.get("continue", 0)), int(request.query.get("limit", len(items) or 1))
        metadata = {"resourceVersion": str(self.version)}
        if start + limit < len(items):
            metadata["continue"] = str(start + limit)
        return web.json_response({"metadata": metadata, "items": items[start : start + limit]})

    async def _post(self, kind: str, _name: str | None, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        name = body["metadata"]["name"]
        if name in self.objects[kind]:
            return status(409, "AlreadyExists", f'{kind} "{name}" already exists')
        if kind == "pods":
            return web.json_response(await self.put_pod(body), status=201)
        self.objects[kind][name] = body
        return web.json_response(body, status=201)

    async def _put(self, kind: str, name: str | None, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if name not in self.objects[kind]:
            return status(404, "NotFound")
        self.objects[kind][name] = body
        return web.json_response(body)

    async def _delete(self, kind: str, name: str | None, request: web.Request) -> web.StreamResponse:
        found = self.objects[kind].get(name or "")
        if found is None or name is None:
            return status(404, "NotFound")
        body = await request.json() if request.can_read_body else {}
        uid = body.get("preconditions", {}).get("uid")
        if uid is not None and uid != found["metadata"]["uid"]:
            return status(409, "Conflict")
        if kind != "pods":
            del self.objects[kind][name]
        elif self.keeps_deleted:
            marked = {**found["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
            await self.put_pod({**found, "metadata": marked}, "MODIFIED")
        else:
            await self.remove_pod(name)
        return web.json_response({"kind": "Status", "status": "Success"})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        since = int(request.query["resourceVersion"])
        if since < self.oldest:
            return status(410, "Expired")
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        task = asyncio.create_task(self._stream(answer, since, request.query.get("labelSelector", "")))
        self._watches.add(task)
        task.add_done_callback(self._watches.discard)
        try:
            await task
        except asyncio.CancelledError:
            if request.transport is not None:
                request.transport.abort()
            raise
        return answer

    async def _stream(self, answer: web.StreamResponse, since: int, selector: str) -> None:
        while True:
            events, since = await self._news(since)
            for event in events:
                if event["type"] == "BOOKMARK" or _matches(event["object"], selector):
                    await answer.write(json.dumps(event).encode() + b"\n")

    async def _news(self, since: int) -> tuple[list[Json], int]:
        async with self._changed:
            await self._changed.wait_for(lambda: self._history and self._history[-1][0] > since)
            return [event for version, event in self._history if version > since], self._history[-1][0]

    async def expire(self) -> None:
        """Old versions are forgotten: every watch ends with an error, and none may go on from before."""
        self.version += 1
        self.oldest = self.version
        await self._tell(
            "ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old", "metadata": {}}
        )
        await asyncio.sleep(0)


def _matches(item: Json, selector: str) -> bool:
    labels = item.get("metadata", {}).get("labels") or {}
    if item.get("kind") == "Status":
        return True
    return all(labels.get(part.partition("=")[0]) == part.partition("=")[2] for part in selector.split(",") if part)


@asynccontextmanager
async def serve() -> AsyncIterator[KubeServer]:
    """A server on a free port of loopback."""
    server = KubeServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await server.break_watches()
        await runner.cleanup()
