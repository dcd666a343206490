"""Looking at one backend again and again, and remembering what it last showed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from datetime import datetime

from sampan_hub.backends.base import Announcing, Backend, Capacity, Expected, Listing
from sampan_hub.jobs.plan import BackendView, CancelSent

logger = logging.getLogger(__name__)

Clock = Callable[[], datetime]

OBSERVE_TIMEOUT_S = 60.0


class Watch:
    """The observer of one backend. A backend that cannot answer is counted and asked again, never taken for empty."""

    def __init__(self, backend: Backend, clock: Clock, on_look: Callable[[], None]) -> None:
        self.backend = backend
        self.interval_s = backend.pace.moving_s
        self.failures = 0
        self.last_good_at: datetime | None = None
        self._clock = clock
        self._on_look = on_look
        self._listings: deque[Listing] = deque(maxlen=2)
        self._failing_since: datetime | None = None
        self._capacity: Capacity | None = None
        self._cancels: dict[str, CancelSent] = {}
        self._expected: tuple[Expected, ...] = ()
        self._is_primed = asyncio.Event()
        self._asked = asyncio.Event()
        self._due_at = 0.0
        self._is_asked = False

    def view(self) -> BackendView:
        """What is known now, as the plan takes it."""
        return BackendView(
            name=self.backend.name,
            submit_timeout_s=self.backend.submit_timeout_s,
            listings=tuple(self._listings),
            failing_since=self._failing_since,
            capacity=self._capacity,
            cancels=dict(self._cancels),
        )

    def expect(self, expected: Iterable[Expected]) -> None:
        """What is recorded as present there; nothing is looked at before this was said once."""
        self._expected = tuple(expected)
        self._is_primed.set()

    def look_now(self) -> None:
        """Look again as soon as the backend likes it instead of after the interval."""
        self._is_asked = True
        self._asked.set()

    def set_interval(self, interval_s: float) -> None:
        """How long to rest from now on; where that is shorter than before, this rest too."""
        before, self.interval_s = self.interval_s, interval_s
        if interval_s >= before:
            return
        if not self.backend.pace.patient:
            self.look_now()
            return
        self._due_at = min(self._due_at, time.monotonic() + interval_s)
        self._asked.set()

    async def run(self) -> None:
        """Look until cancelled."""
        gap_s = self.backend.pace.gap_s
        await self._is_primed.wait()
        if isinstance(self.backend, Announcing):
            self.backend.announce(self.look_now)
        while True:
            self._is_asked = False
            await self.look()
            is_settled = not self._listings or self._listings[-1].is_settled
            rest_s = self.interval_s if is_settled else min(self.interval_s, self.backend.pace.moving_s)
            self._due_at = time.monotonic() + rest_s
            await asyncio.sleep(gap_s)
            await self._rest()

    async def _rest(self) -> None:
        """Until the next look is due, or asked for."""
        while not self._is_asked and (left_s := self._due_at - time.monotonic()) > 0:
            self._asked.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._asked.wait()
            except TimeoutError:
                return

    async def look(self) -> None:
        """One listing and the capacity, or one failure more."""
        asked_at = self._clock()
        try:
            async with asyncio.timeout(OBSERVE_TIMEOUT_S):
                listing = await self.backend.observe(self._expected)
                capacity = await self._ask_capacity()
        except Exception:  # whatever a backend raises, the others and the next look go on
            self.failures += 1
            if self._failing_since is None:
                logger.exception("backend %s could not be listed; it is asked again", self.backend.name)
                self._failing_since = asked_at
            else:
                logger.debug("backend %s could not be listed", self.backend.name, exc_info=True)
        else:
            if self._failing_since is not None:
                logger.warning("backend %s answers again", self.backend.name)
            self._listings.append(listing)
            self._capacity = capacity
            self._failing_since = None
            self.last_good_at = listing.finished_at
        self._on_look()

    async def _ask_capacity(self) -> Capacity:
        """What the plan needs of it: of a backend with a queue of its own only that it has one, asked once."""
        if self._capacity is not None and self._capacity.queues:
            return self._capacity
        return await self.backend.capacity()

    def count_failure(self) -> None:
        """A call other than a listing failed."""
        self.failures += 1

    def note_cancels(self, job_ids: Iterable[str]) -> None:
        """Remember that a cancel goes out for these."""
        now = self._clock()
        for job_id in job_ids:
            sent = self._cancels.get(job_id)
            self._cancels[job_id] = CancelSent(sent.count + 1 if sent else 1, now)

    def drop_cancels_but(self, job_ids: Collection[str]) -> None:
        """Forget the cancels of all but these jobs."""
        self._cancels = {job_id: sent for job_id, sent in self._cancels.items() if job_id in job_ids}
