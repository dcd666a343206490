"""The store's revision as an event: one watcher for every waiting feed request."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from sqlalchemy.exc import SQLAlchemyError

log = logging.getLogger(__name__)

REREAD_S = 1.0
PACE_S = 0.2
"""The shortest time between two rounds of waking: while much changes, readers get it in portions."""


class Revisions:
    """Knows the store's newest revision and lets requests wait for a newer one.

    `poke` says that this process wrote; another service's writes are seen at the next re-read. Either way a
    single read of the counter serves all that wait. News after a pause is told at once, then every `PACE_S`.
    """

    def __init__(self, read_revision: Callable[[], Awaitable[int]]) -> None:
        self._read = read_revision
        self._poked = asyncio.Event()
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.newest = 0
        self.waiting = 0
        self.released = False
        """The service ends: nobody waits any more."""

    def poke(self) -> None:
        """Something was written. Callable from any thread, before and after `run` too."""
        self._soon(self._poked.set)

    def release(self) -> None:
        """Send everybody home with what they know. From any thread, and from a signal handler."""
        self.released = True
        self._soon(self._tell)

    async def run(self) -> None:
        """Watches until cancelled. A store that cannot be read is asked again; readers wait meanwhile."""
        self._loop = asyncio.get_running_loop()
        told_s = -PACE_S
        while True:
            try:
                newest = await self._read()
            except SQLAlchemyError as error:
                log.warning("the store's revision cannot be read: %s", error)
            else:
                if newest != self.newest:
                    self.newest = newest
                    self._tell()
                    told_s = time.monotonic()
            try:
                async with asyncio.timeout(REREAD_S):
                    await self._poked.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(max(0.0, told_s + PACE_S - time.monotonic()))
            self._poked.clear()

    async def wait_change(self, known: int, timeout_s: float) -> int:
        """The newest revision as soon as it is another than `known`, or whatever it is after `timeout_s`.

        Another, not only a larger: a restored database begins again lower.
        """
        self.waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                while self.newest == known and not self.released:
                    await self._news.wait()
        except TimeoutError:
            return self.newest
        finally:
            self.waiting -= 1
        return self.newest

    def _soon(self, call: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call)

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
