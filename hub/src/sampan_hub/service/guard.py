"""The outermost layer, plain ASGI: body size, NUL characters, the access log and request metrics."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sampan_hub.service.metrics import Metrics
from sampan_hub.service.problems import answer_problem, make_problem

access_log = logging.getLogger("sampan_hub.access")

PROBES = ("/healthz", "/readyz")
"""Asked every few seconds by whoever keeps the service: told in the log where the answer is bad."""
MAX_BODY_BYTES = 8 * 1024 * 1024


class Guard:
    """Refuses oversized bodies and NUL in paths and queries; logs and measures every request.

    The log names the path without its query string: nothing that a person typed into a query is kept.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun_s = time.perf_counter()
        status = 500

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._admit(scope, receive, send_noting)
        finally:
            self._note(scope, status, time.perf_counter() - begun_s)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            problem = make_problem(400, "invalid", "Paths and queries hold no NUL character.", field="path")
            await answer_problem(problem)(scope, receive, send)
            return
        body = await self._read_body(receive)
        if body is None:
            detail = f"The body is larger than {self._max_body_bytes} bytes: send smaller batches."
            await answer_problem(make_problem(413, "too-large", detail))(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    async def _read_body(self, receive: Receive) -> bytes | None:
        """The whole body, or None as soon as it is over the limit."""
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return b"".join(chunks)
            size += len(message.get("body", b""))
            if size > self._max_body_bytes:
                return None
            chunks.append(message.get("body", b""))
            if not message.get("more_body", False):
                return b"".join(chunks)

    def _note(self, scope: Scope, status: int, took_s: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        self._metrics.request(scope["method"], route, status, took_s)
        is_idle_talk = status < 400 and scope["path"].endswith(PROBES)
        access_log.log(
            logging.DEBUG if is_idle_talk else logging.INFO,
            "%s %s %d %.1f ms",
            scope["method"],
            scope["path"],
            status,
            took_s * 1000,
            extra={"method": scope["method"], "path": scope["path"], "status": status, "ms": round(took_s * 1000, 1)},
        )


def _replay(body: bytes, receive: Receive) -> Receive:
    """A receive that gives the body read before, then whatever the server says next (a disconnect)."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
