"""A proxy that is apart may begin anew at any time, without a route: noticed at once, by a connection that breaks.

JupyterHub itself compares routes every few seconds (`ROUTE_CHECK_S`), and until then everybody would meet "not found".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import aiohttp

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]

PAUSE_S = 0.5
"""Before each connection: to one that is away, and to one that ends connections at once."""
log = logging.getLogger(__name__)


async def keep_routed(connect: Connect, restore: Callable[[], Awaitable[None]], pause_s: float = PAUSE_S) -> None:
    """Calls `restore` whenever the proxy can be reached again after a connection to it ended. Runs until cancelled.

    Proxies end idle connections as well, after a minute or so: `restore` changes nothing then.
    """
    is_first = True
    while True:
        try:
            reader, writer = await connect()
        except OSError:
            await asyncio.sleep(pause_s)
            continue
        try:
            if not is_first:
                await _restore(restore)
            is_first = False
            with suppress(OSError):
                await reader.read(1)
        finally:
            writer.transport.abort()
        await asyncio.sleep(pause_s)


async def _restore(restore: Callable[[], Awaitable[None]]) -> None:
    try:
        await restore()
    except (aiohttp.ClientError, OSError) as error:
        log.warning("the proxy's routes could not be put back: %s", error or type(error).__name__)
