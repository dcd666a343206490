"""The store's revision as an event: one watcher for every waiting feed request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

REREAD_S = 1.0
SETTLE_S = 0.05


class Revisions:
    """Knows the store's newest revision and lets requests wait for a newer one.

    `poke` says that this process wrote; another service's writes are seen at the next re-read. Either way a
    single read of the counter serves all that wait, and writes within `SETTLE_S` wake them once.
    """

    def __init__(self, read_revision: Callable[[], Awaitable[int]]) -> None:
        self._read = read_revision
        self._poked = asyncio.Event()
        self._news = asyncio.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.newest = 0
        self.waiting = 0

    def poke(self) -> None:
        """Something was written. Callable from any thread, before and after `run` too."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._poked.set)

    async def run(self) -> None:
        """Watches until cancelled. A store that cannot be read is asked again; readers wait meanwhile."""
        self._loop = asyncio.get_running_loop()
        while True:
            try:
                newest = await self._read()
            except OSError as error:
                log.warning("the store's revision cannot be read: %s", error)
            else:
                await self._announce(newest)
            try:
                await asyncio.wait_for(self._poked.wait(), REREAD_S)
                await asyncio.sleep(SETTLE_S)
            except TimeoutError:
                continue
            finally:
                self._poked.clear()

    async def wait_newer(self, revision: int, timeout_s: float) -> int:
        """The newest revision as soon as it is above `revision`, or whatever it is after `timeout_s`."""
        self.waiting += 1
        try:
            async with asyncio.timeout(timeout_s), self._news:
                await self._news.wait_for(lambda: self.newest > revision)
        except TimeoutError:
            return self.newest
        finally:
            self.waiting -= 1
        return self.newest

    async def _announce(self, newest: int) -> None:
        if newest != self.newest:
            async with self._news:
                self.newest = newest
                self._news.notify_all()
