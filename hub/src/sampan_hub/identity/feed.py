"""One long poll per hub process tells every spawner how its notebook stands."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakSet

from sampan_hub.identity.compute import ComputeClient, ServiceError
from sampan_hub.identity.notebooks import Notebook, find_open

WAIT_S = 30
RETRY_S = (0.1, 0.2, 0.5, 1.0, 2.0)
ABSENT_GRACE_S = 15.0
"""How long a ready service must not know a job before the hub takes it for ended; a wiped database adopts sooner."""


@dataclass(frozen=True, slots=True)
class Follow:
    """Which job is meant: by id, else by what it was asked for under, else the open one of this server."""

    owner: str
    name: str
    job_id: str | None = None
    batch: str | None = None


class Watcher(Protocol):
    """A spawner: says which job it follows (None: none), and is told of every listing."""

    def __hash__(self) -> int: ...

    @property
    def follows(self) -> Follow | None: ...

    def see(self) -> None: ...


class Feed:
    """The notebooks as last heard of. Starts with the first `watch`, inside the hub's event loop."""

    def __init__(
        self, compute: ComputeClient, log: logging.Logger, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.compute = compute
        self.heard = False
        """Whether there was an answer since this hub started."""
        self.log = log
        self._clock_s = clock_s
        self._notebooks: dict[str, Notebook] = {}
        self._watchers: WeakSet[Watcher] = WeakSet()
        self._abandoned: set[str] = set()
        self._learned: dict[str, Notebook] = {}
        """What other requests said since the listing on its way was asked for, which may lack it."""
        self._absent: dict[Follow, tuple[float, float]] = {}
        """When a job was first and last found missing."""
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def watch(self, watcher: Watcher) -> None:
        """Tell this spawner of every listing, for as long as somebody else keeps it."""
        self._watchers.add(watcher)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow())

    def find(self, follow: Follow) -> Notebook | None:
        """The job meant, as last heard of; also when it ended while somebody followed it."""
        if follow.job_id is not None:
            return self._notebooks.get(follow.job_id)
        if follow.batch is not None:
            return next((one for one in self._notebooks.values() if one.batch == follow.batch), None)
        return find_open(self._notebooks.values(), follow.owner, follow.name)

    def is_gone(self, follow: Follow) -> bool:
        """Whether a ready service did not know this job in two looks far enough apart to believe it.

        (Time alone says nothing: while a thousand servers start, one look may take longer than that.)
        """
        first_s, last_s = self._absent.get(follow, (0.0, 0.0))
        return last_s - first_s >= ABSENT_GRACE_S

    def learn(self, notebook: Notebook) -> None:
        """Put in what an answer to another request said, before the next listing does."""
        self._notebooks[notebook.id] = self._learned[notebook.id] = notebook
        self._tell()

    def abandon(self, batch: str) -> None:
        """Stop whatever should still appear under this key: nobody waits for it any more."""
        self._abandoned.add(batch)

    async def change(self, timeout_s: float) -> None:
        """Wait for the next news, at most this long.

        (`asyncio.wait_for` of Python 3.11 forgets to be cancelled when the news comes in the same moment; who cancels
        a waiter and awaits its end would then wait for ever.)
        """
        changed = self._changed
        try:
            async with asyncio.timeout(timeout_s):
                await changed.wait()
        except TimeoutError:
            return

    async def close(self) -> None:
        """End the long poll and the connections."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.compute.close()

    async def _follow(self) -> None:
        revision: int | None = None
        failures = 0
        while True:
            self._learned = {}
            try:
                listing = await self.compute.notebooks(revision, WAIT_S)
                await self._take(listing.notebooks)
                revision, failures = listing.revision, 0
            except (ServiceError, KeyError, TypeError, ValueError) as error:
                if failures == 0:
                    self.log.warning("The compute service's feed is interrupted (%s); trying on", error)
                revision = None
                await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
                failures += 1

    async def _take(self, listed: Iterable[Notebook]) -> None:
        notebooks = {**self._learned, **{one.id: one for one in listed}}
        for follow in self._followed():
            if follow.job_id is not None and follow.job_id not in notebooks:
                found = await self._look_up(follow.job_id)
                if found is not None:
                    notebooks[found.id] = found
        self._notebooks = {**self._learned, **notebooks}
        self.heard = True
        for one in notebooks.values():
            if one.batch in self._abandoned and not one.has_ended and one.wanted == "run":
                await self.compute.stop(one.id, "its start was given up")
        await self._note_absent()
        self._tell()

    async def _look_up(self, job_id: str) -> Notebook | None:
        """A followed job that the listing left out: ended (kept as such), or not known at all."""
        known = self._notebooks.get(job_id)
        if known is not None and known.has_ended:
            return known
        return await self.compute.notebook(job_id)

    async def _note_absent(self) -> None:
        """Start (or forget) the clocks of followed jobs that the service does not know."""
        missing = [follow for follow in self._followed() if self.find(follow) is None]
        is_ready = bool(missing) and await self.compute.is_ready()
        now = self._clock_s()
        before, self._absent = self._absent, {}
        if is_ready:
            self._absent = {follow: (before.get(follow, (now, now))[0], now) for follow in missing}

    def _followed(self) -> list[Follow]:
        return [follow for watcher in self._watchers if (follow := watcher.follows) is not None]

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        for watcher in list(self._watchers):
            try:
                watcher.see()
            except Exception:
                self.log.exception("%s could not act on the news; the others are told all the same", watcher)
