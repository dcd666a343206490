"""A proxy that begins anew gets its routes back at once; whatever goes wrong, it is looked at again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any, cast

from sampan_hub.identity.returning import Connect, keep_routed


class Proxy:
    """Connections are made here; `end` breaks the last one, `away` refuses new ones."""

    def __init__(self) -> None:
        self.away = False
        self.asked = 0
        self.aborted = 0
        self.open: list[asyncio.StreamReader] = []

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.asked += 1
        if self.away:
            raise ConnectionRefusedError
        reader = asyncio.StreamReader()
        self.open.append(reader)
        writer = SimpleNamespace(transport=SimpleNamespace(abort=self._abort))
        return reader, cast(asyncio.StreamWriter, writer)

    def _abort(self) -> None:
        self.aborted += 1

    def end(self) -> None:
        self.open[-1].feed_eof()


@asynccontextmanager
async def keeping(connect: Connect, restore: Callable[[], Any]) -> AsyncIterator[None]:
    task = asyncio.create_task(keep_routed(connect, restore, pause_s=0.001))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], Any]) -> None:
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise TimeoutError


async def test_routes_are_restored_once_it_is_back_and_not_before() -> None:
    proxy, restored = Proxy(), asyncio.Queue[int]()

    async def restore() -> None:
        restored.put_nowait(proxy.asked)

    async with keeping(proxy.connect, restore):
        await until(lambda: proxy.open)
        assert restored.empty(), "JupyterHub has just done it"
        proxy.away = True
        proxy.end()
        await until(lambda: proxy.asked >= 4)
        assert restored.empty()
        proxy.away = False
        await until(lambda: not restored.empty())
        assert len(proxy.open) == 2
        proxy.end()
        await until(lambda: restored.qsize() == 2)
    await until(lambda: proxy.aborted == 3)


async def test_routes_that_could_not_be_restored_are_tried_with_the_next_connection() -> None:
    proxy, tries = Proxy(), 0

    async def restore() -> None:
        nonlocal tries
        tries += 1
        proxy.end()
        raise TimeoutError

    async with keeping(proxy.connect, restore):
        await until(lambda: proxy.open)
        proxy.end()
        await until(lambda: tries >= 3)
