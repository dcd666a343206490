"""A way to the API server that can be told to misbehave: what a service sees of one that is slow, ill or forgetful."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

HANDED_ON = ("Accept", "Authorization", "Content-Type")
PASSED_ON = ("Content-Type", "Retry-After", "Audit-Id")
EXPIRED = {"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "code": 410, "reason": "Expired"}}


@dataclass(slots=True)
class Mood:
    """How it behaves now. All of it can be changed from another thread."""

    delay_s: float = 0.0
    """Before every answer."""
    status: int | None = None
    """Answered to everything, in place of asking."""
    is_silent: bool = False
    """Nothing is answered at all."""
    cuts: str = ""
    """`lists` end in the middle; `words` are no JSON."""
    forgets: bool = False
    """Every watch that goes on from somewhere is told that this is too long ago."""


@dataclass(slots=True)
class Ambush:
    """What happens around the next request of this method whose path ends so, once: `before` it is passed on, or
    `after`, when the answer is there and nobody has heard it. `loses`: its reply is lost."""

    method: str
    ending: str
    before: Callable[[], None] | None = None
    after: Callable[[], None] | None = None
    loses: bool = True
    sprung: bool = False


class ApiServer:
    """Listens with TLS on loopback; whoever asks is passed on with his own token, never with anybody else's."""

    def __init__(self, server: str, ca: ssl.SSLContext) -> None:
        self.mood = Mood()
        self.url = ""
        self.requests: list[str] = []
        """Method and path of everything that was asked."""
        self._server, self._ca = server, ca
        self._ambushes: list[Ambush] = []
        self._watches: set[asyncio.Task[Any]] = set()
        self._well_again = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None

    async def listen(self, context: ssl.SSLContext) -> None:
        connector = aiohttp.TCPConnector(ssl=self._ca, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        self.url = f"https://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    def lie_in_wait(self, ambush: Ambush) -> Ambush:
        self._ambushes.append(ambush)
        return ambush

    async def drop_watches(self) -> int:
        """How many were going on."""
        watches = list(self._watches)
        for task in watches:
            task.cancel()
        return len(watches)

    async def hang_up(self) -> None:
        """On everybody who was met with silence."""
        self._well_again.set()
        self._well_again = asyncio.Event()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path_qs}")
        is_watch = "watch" in request.query
        if self.mood.is_silent:
            await self._well_again.wait()
            return _hang_up(request)
        await asyncio.sleep(self.mood.delay_s)
        if self.mood.status is not None:
            return _refuse(self.mood.status)
        if self.mood.forgets and is_watch and request.query.get("resourceVersion", "0") != "0":
            return web.json_response(EXPIRED)
        ambush = None if is_watch else self._take(request)
        if ambush is not None and ambush.before is not None:
            await asyncio.to_thread(ambush.before)
            return _hang_up(request)
        return await self._ask(request, ambush, is_watch=is_watch)

    async def _ask(self, request: web.Request, ambush: Ambush | None, *, is_watch: bool) -> web.StreamResponse:
        assert self._session is not None
        headers = {name: request.headers[name] for name in HANDED_ON if name in request.headers}
        body = await request.read()
        url = f"{self._server}{request.rel_url}"
        no_limit = aiohttp.ClientTimeout(total=None, sock_connect=5)
        try:
            async with self._session.request(
                request.method, url, headers=headers, data=body, timeout=no_limit, allow_redirects=False
            ) as answer:
                if is_watch:
                    return await self._stream(request, answer)
                said = await answer.read()
                passed_on = {name: answer.headers[name] for name in PASSED_ON if name in answer.headers}
                status = answer.status
        except aiohttp.ClientError:
            return _hang_up(request)
        if ambush is not None:
            if ambush.after is not None:
                await asyncio.to_thread(ambush.after)
            if ambush.loses:
                return _hang_up(request)
        if request.method == "GET" and self.mood.cuts:
            said = said[: len(said) // 2] if self.mood.cuts == "lists" else b"<html>Bad gateway</html>"
        return web.Response(status=status, body=said, headers=passed_on)

    async def _stream(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        reply = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json"})
        await reply.prepare(request)
        pumping = asyncio.ensure_future(self._pump(answer, reply))
        self._watches.add(pumping)
        try:
            await asyncio.wait({pumping})
        finally:
            self._watches.discard(pumping)
            pumping.cancel()
        if pumping.cancelled() or pumping.exception() is not None:
            _hang_up(request)
        return reply

    async def _pump(self, answer: aiohttp.ClientResponse, reply: web.StreamResponse) -> None:
        async for chunk in answer.content.iter_any():
            await asyncio.sleep(self.mood.delay_s)
            await reply.write(chunk)

    def _take(self, request: web.Request) -> Ambush | None:
        for ambush in self._ambushes:
            if request.method == ambush.method and request.path.endswith(ambush.ending):
                self._ambushes.remove(ambush)
                ambush.sprung = True
                return ambush
        return None


def _hang_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=502)


def _refuse(status: int) -> web.Response:
    words = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "told to fail", "code": status}
    headers = {"Retry-After": "1"} if status == 429 else {}
    return web.Response(status=status, text=json.dumps(words), content_type="application/json", headers=headers)
