"""The TLS entry of several light installations, played by one small program: `python entry.py FOLDER PORT`.

As the real proxy does, it outlives the service and answers 503 for it. The first part of a request's path chooses the
installation: the file of that name in FOLDER/routes holds the port of its service.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from contextlib import suppress
from pathlib import Path

AWAY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
HEAD_S = 20


class Entry:
    def __init__(self, folder: Path) -> None:
        self.routes = folder / "routes"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError, asyncio.LimitOverrunError):
            async with asyncio.timeout(HEAD_S):
                first = await reader.readuntil(b"\r\n")
            try:
                port = int((self.routes / first.split(b"/")[1].decode()).read_text())
                inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
            except (OSError, ValueError, IndexError):
                writer.write(AWAY)
                await writer.drain()
            else:
                inner_writer.write(first)
                await join(reader, inner_writer, inner_reader, writer)
        writer.close()


async def join(
    reader: asyncio.StreamReader,
    inner_writer: asyncio.StreamWriter,
    inner_reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Both ways until either side ends."""
    pumps = {asyncio.create_task(pump(reader, inner_writer)), asyncio.create_task(pump(inner_reader, writer))}
    _, rest = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    for each in rest:
        each.cancel()
    await asyncio.gather(*pumps, return_exceptions=True)
    inner_writer.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def main(folder: Path, port: int) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "entry.crt", folder / "entry.key")
    server = await asyncio.start_server(Entry(folder).serve, "0.0.0.0", port, ssl=context, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
