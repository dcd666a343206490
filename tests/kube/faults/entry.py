"""The TLS entry of several light installations; it writes down which runs were let to work.

As the real proxy does, it outlives the services and answers 503 for one that is away. The first part of a request's
path chooses the installation; `POST /runs/JOB/RUN` is what the jobs' program tells once its claim was answered.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections import defaultdict
from contextlib import suppress

AWAY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
NOTED = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
HEAD_S = 20


class Entry:
    """`routes`: the ports of each installation's services, of which every connection gets one.
    `runs`: by job id, each run that was let to work."""

    def __init__(self) -> None:
        self.routes: dict[str, list[int]] = {}
        self.runs: defaultdict[str, list[str]] = defaultdict(list)
        self.url = ""
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, context: ssl.SSLContext) -> None:
        self._server = await asyncio.start_server(self._serve, host, 0, ssl=context, backlog=512)
        self.url = f"https://{host}:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()

    def doubles(self, instance: str) -> set[str]:
        """Ids under which more than one run was let to work."""
        return {job for job, runs in self.runs.items() if job.startswith(f"{instance}.") and len(set(runs)) > 1}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError, asyncio.LimitOverrunError):
            async with asyncio.timeout(HEAD_S):
                first = await reader.readuntil(b"\r\n")
            _, name, *rest = first.decode().split(" ")[1].split("/")
            if name == "runs":
                job, run = rest
                self.runs[job].append(run)
                writer.write(NOTED)
            else:
                await self._pass_on(name, first, reader, writer)
            await writer.drain()
        writer.close()

    async def _pass_on(
        self, name: str, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", random.choice(self.routes[name]))
        except (OSError, KeyError):
            writer.write(AWAY)
            return
        inner_writer.write(first)
        pumps = {asyncio.create_task(pump(reader, inner_writer)), asyncio.create_task(pump(inner_reader, writer))}
        _, left = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for each in left:
            each.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        inner_writer.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One way, until either side ends."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
