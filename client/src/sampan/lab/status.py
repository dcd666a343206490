"""What the JupyterLab extension shows: how things stand with the service, asked seldom and told to every tab."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from jupyter_server.base.handlers import APIHandler
from tornado.web import HTTPError, authenticated

from sampan._api import Json, Session
from sampan.errors import SampanError, ServiceUnavailable
from sampan.lab.activity import ActivityReporter

MAX_AGE_S = 4.0
CALL_TIMEOUT_S = 8.0


def work_url(environ: Mapping[str, str] | None = None) -> str:
    """Where people see everything they run."""
    base = (os.environ if environ is None else environ).get("JUPYTERHUB_BASE_URL", "/")
    return f"{base.rstrip('/')}/services/sampan/work"


def make_status(session: Json | None, unreachable_s: float | None, now: datetime) -> Json:
    """What the extension reads (`client/lab/src/status.ts`). Pure."""
    known = session or {}
    return {
        "session": session,
        "unreachable_s": unreachable_s,
        "idle_in_s": _left_s(known.get("idle_end_at"), now),
        "ends_in_s": _left_s(known.get("deadline"), now),
    }


def _left_s(end: str | None, now: datetime) -> float | None:
    """Told as time left, because a browser's clock may be wrong."""
    return None if end is None else max(0.0, (datetime.fromisoformat(end) - now).total_seconds())


@dataclass(slots=True)
class StatusReader:
    """Asks the service at most every few seconds, however many tabs are open, and never fails."""

    ask: Callable[[], Awaitable[Json]]
    session: Json | None = None
    """The last answer."""
    asked_at_s: float = float("-inf")
    silent_since_s: float | None = None
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def read(self, max_age_s: float = MAX_AGE_S) -> Json:
        """How things stand, not older than that; a service that is away is part of the answer."""
        async with self._one_at_a_time:
            if time.monotonic() - self.asked_at_s >= max_age_s:
                await self._refresh()
        silent_s = None if self.silent_since_s is None else time.monotonic() - self.silent_since_s
        return make_status(self.session, silent_s, datetime.now(UTC))

    async def _refresh(self) -> None:
        begun_s = time.monotonic()
        try:
            self.session = await self.ask()
            self.silent_since_s = None
        except ServiceUnavailable:
            self.silent_since_s = begun_s if self.silent_since_s is None else self.silent_since_s
        except SampanError:  # it answers, and has nothing for this notebook: one that is ending, an older service
            self.session = self.silent_since_s = None
        self.asked_at_s = time.monotonic()


def make_reader(session: Session) -> StatusReader:
    """The reader for one notebook session."""

    async def ask() -> Json:
        return await session.connect().call_async("GET", "/session", timeout_s=CALL_TIMEOUT_S)

    return StatusReader(ask)


class StatusHandler(APIHandler):
    """`GET <base>sampan/status`."""

    def initialize(self, reader: StatusReader, activity: ActivityReporter) -> None:
        self.reader = reader
        self.activity = activity

    @authenticated
    async def get(self) -> None:
        self.finish(json.dumps(await self.reader.read()))

    def update_api_activity(self) -> None:
        """An open tab asks for ever: that is no use of the server."""


class KeepHandler(StatusHandler):
    """`POST <base>sampan/keep`: the person wants this notebook to run on."""

    SUPPORTED_METHODS: Any = ("POST", "OPTIONS")

    @authenticated
    async def post(self) -> None:
        try:
            await self.activity.keep()
        except SampanError as error:
            raise HTTPError(503, f"The compute service was not told: {error}") from error
        self.finish(json.dumps(await self.reader.read(max_age_s=0)))
