"""The TLS entry of several light installations. Needs nothing but the standard library: it also runs on bare machines.

As the real proxy does, it outlives the services and answers 503 for one that is away. The first part of a request's
path chooses the installation.
"""

from __future__ import annotations

import asyncio
import ssl
from abc import ABC, abstractmethod
from contextlib import suppress

AWAY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
HEAD_S = 20


class Entry(ABC):
    @abstractmethod
    def find_port(self, name: str) -> int:
        """Of the installation's service on loopback; raises LookupError, ValueError or OSError where there is none."""

    def note(self, path: list[str]) -> bytes | None:
        """An answer of the entry's own to what its path, by parts, says; none: an installation is meant."""
        return None

    async def listen(self, host: str, port: int, context: ssl.SSLContext) -> asyncio.Server:
        return await asyncio.start_server(self._serve, host, port, ssl=context, backlog=512)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError, asyncio.LimitOverrunError):
            async with asyncio.timeout(HEAD_S):
                first = await reader.readuntil(b"\r\n")
            path = first.decode().split(" ")[1].split("/")[1:]
            if noted := self.note(path):
                writer.write(noted)
            else:
                await self._pass_on(path[0], first, reader, writer)
            await writer.drain()
        writer.close()

    async def _pass_on(
        self, name: str, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Both ways until either side ends."""
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self.find_port(name))
        except (OSError, LookupError, ValueError):
            writer.write(AWAY)
            return
        inner_writer.write(first)
        pumps = {asyncio.create_task(_pump(reader, inner_writer)), asyncio.create_task(_pump(inner_reader, writer))}
        _, left = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for each in left:
            each.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        inner_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One way, until either side ends."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
