"""Clusters whose hosts are jobs, reached by the notebook's server: by the service's word, with the session's keys."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from sampan._api import Session
from sampan.errors import SampanError
from sampan.host.hosted import STATE_PATH, Hosted, find_hosted
from sampan.rundir import cluster_dir, ensure_private
from sampan.security import ensure_keys, make_client_context

FRESH_S = 2.0
"""A page of the dashboard is many requests; the service is asked for them all at once."""
STATE_TIMEOUT_S = 5.0
CHUNK_BYTES = 1 << 16

log = logging.getLogger("sampan.lab")


class Remote:
    """One for each server. Where no host is a job, it asks nobody."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._known: list[Hosted] = []
        self._known_at_s = -FRESH_S
        self._turn = asyncio.Lock()
        self._relays: dict[str, tuple[str, asyncio.Server]] = {}
        self._context: ssl.SSLContext | None = None

    async def running(self) -> list[Hosted]:
        """Those that can be joined, oldest first."""
        if not self.session.host_jobs:
            return []
        async with self._turn:
            if time.monotonic() - self._known_at_s >= FRESH_S:
                try:
                    self._known = await asyncio.to_thread(find_hosted, self.session)
                except SampanError as error:
                    log.info("The service did not say which clusters there are: %s", error)
                self._known_at_s = time.monotonic()
        return [hosted for hosted in self._known if hosted.scheduler is not None]

    async def find(self, name: str) -> Hosted | None:
        return next((hosted for hosted in await self.running() if hosted.name == name), None)

    def forget(self) -> None:
        """Something was changed: ask again at the next look."""
        self._known_at_s = -FRESH_S

    async def state(self, hosted: Hosted) -> Mapping[str, Any]:
        """What a host beside the notebook writes into `state.json`; nothing where it does not answer."""
        where = urlsplit(hosted.dashboard or "")
        try:
            answer = await AsyncHTTPClient().fetch(
                f"https://{where.netloc}{STATE_PATH}", ssl_options=self._tls(), request_timeout=STATE_TIMEOUT_S
            )
        except (OSError, HTTPClientError) as error:
            log.info("The host of %s does not say how it is: %s", hosted.name, error)
            return {}
        return dict(json.loads(answer.body))

    async def socket(self, name: str) -> Path | None:
        """A private socket that leads to this cluster's dashboard; None where there is no such cluster."""
        hosted = await self.find(name)
        if hosted is None or not hosted.dashboard:
            return None
        target, relay = self._relays.get(name, ("", None))
        path = cluster_dir(self.session, name) / "dash.sock"
        if target != hosted.dashboard:
            if relay is not None:
                relay.close()
            _make_room(path)
            self._relays[name] = (hosted.dashboard, await self._relay(path, hosted.dashboard))
        return path

    async def _relay(self, path: Path, target: str) -> asyncio.Server:
        where = urlsplit(target)

        async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                there = await asyncio.open_connection(where.hostname, where.port, ssl=self._tls())
            except OSError as error:
                log.info("The dashboard at %s cannot be reached: %s", target, error)
                writer.close()
                return
            await asyncio.gather(_pump(reader, there[1]), _pump(there[0], writer))

        return await asyncio.start_unix_server(lead, path)

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = make_client_context(ensure_keys(self.session.job_dir))
        return self._context


def _make_room(path: Path) -> None:
    ensure_private(path.parent)
    path.unlink(missing_ok=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Everything that comes, until one side ends; then the other one does."""
    try:
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # one of the two went away: so does the other
    finally:
        writer.close()
