"""The loop that makes what runs follow what is wanted: observe each backend, plan, record, act."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sampan_hub.backends.base import Backend, Expected, Pace
from sampan_hub.jobs.calls import Calls
from sampan_hub.jobs.model import Finding, Job, State
from sampan_hub.jobs.plan import (
    Action,
    Adopt,
    Cancel,
    EndCluster,
    Forget,
    Record,
    Recorded,
    Report,
    Rules,
    Submit,
    World,
    plan,
)
from sampan_hub.jobs.plan.sight import ALIVE, PRESENT
from sampan_hub.jobs.spec import SpecRules
from sampan_hub.jobs.store import Store
from sampan_hub.jobs.watch import Clock, Watch
from sampan_hub.settings.model import Settings

logger = logging.getLogger(__name__)

TICK_S = 1.0
"""The longest time between two plans: graces and leases run out without anybody saying so."""
ROUNDS_AT_MOST = 20
"""Plans in a row that each changed something, before others get their turn."""
REST_FACTOR = 2.0
"""How many times as long as planning took nothing is planned: while hundreds of jobs move, each plan takes many changes
together, and requests are answered meanwhile."""
STANDSTILL = timedelta(seconds=15)
"""No plan for so long (database gone, machine suspended): the time does not count against leases."""
_THERE = PRESENT | {State.SUBMITTING}
_MOVING = frozenset({State.ACCEPTED, State.SUBMITTING, State.QUEUED, State.STARTING, State.STOPPING})


def utc_now() -> datetime:
    return datetime.now(UTC)


class Reconciler:
    """One observer per backend and one planner for all. Two of them on one store are safe.

    Crash at any point and start again: what is recorded is the whole memory, and every call is repeated or
    settled from listings.
    """

    def __init__(
        self,
        store: Store,
        backends: Mapping[str, Backend],
        settings: Settings,
        spec_rules: SpecRules,
        *,
        clock: Clock = utc_now,
    ) -> None:
        """`spec_rules` has the keys and the service's URL (see `spec`); the store must be migrated."""
        self._store = store
        self._clock = clock
        self._rules = _make_rules(store.ensure_instance_id(), settings, spec_rules)
        self._watches = {name: Watch(backend, clock, self._look_came) for name, backend in backends.items()}
        self._calls = {name: Calls(watch, store, spec_rules, clock) for name, watch in self._watches.items()}
        self._up_since = clock()
        self._planned_at = clock()
        self._reported: dict[str, tuple[Finding, ...]] = {}
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def last_good_listing_at(self) -> dict[str, datetime | None]:
        """By backend; None until the first success."""
        return {name: watch.last_good_at for name, watch in self._watches.items()}

    @property
    def up_since(self) -> datetime:
        """Since when there are plans without a gap: idleness is not counted from before."""
        return self._up_since

    @property
    def failures(self) -> dict[str, int]:
        """Failed backend calls since the start, by backend."""
        return {name: watch.failures for name, watch in self._watches.items()}

    def wake(self) -> None:
        """Plan now. From any thread; store changes of this process do it by themselves."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._woken.set)

    def look(self, backend: str) -> None:
        """List this backend now: somebody saw that something there has changed. On the event loop."""
        watch = self._watches.get(backend)
        if watch is not None:
            watch.look_now()

    async def run(self) -> None:
        """Reconcile until cancelled; calls in flight are then given up (a later start settles them)."""
        self._loop = asyncio.get_running_loop()
        self._up_since = self._planned_at = self._clock()
        self._woken.set()  # the first plan says what the first look should find
        unsubscribe = self._store.subscribe(lambda _revision: self.wake())
        try:
            async with asyncio.TaskGroup() as group:
                for watch in self._watches.values():
                    group.create_task(watch.run())
                group.create_task(self._plan_for_ever())
        finally:
            unsubscribe()
            self._loop = None
            await asyncio.gather(*(calls.close() for calls in self._calls.values()))

    def _look_came(self) -> None:
        self._woken.set()

    async def _plan_for_ever(self) -> None:
        while True:
            try:
                async with asyncio.timeout(TICK_S):
                    await self._woken.wait()
            except TimeoutError:
                pass  # a tick: time passed, and time alone may decide
            self._woken.clear()
            begun_s = time.monotonic()
            try:
                await self._come_to_rest()
            except Exception:  # the database: nothing can be recorded, so nothing is done until it is back
                logger.exception("planning failed; it is tried again")
                await asyncio.sleep(TICK_S)
            await asyncio.sleep(min(TICK_S, REST_FACTOR * (time.monotonic() - begun_s)))

    async def _come_to_rest(self) -> None:
        for _ in range(ROUNDS_AT_MOST):
            if not await self.plan_once():
                return
        self._woken.set()

    async def plan_once(self) -> bool:
        """One plan, recorded and its calls begun. Whether it changed the store, so that another one is due."""
        views = {name: watch.view() for name, watch in self._watches.items()}
        shown = [
            seen.job_id
            for view in views.values()
            if view.latest is not None
            for seen in view.latest.jobs
            if seen.phase in ALIVE
        ]
        recorded = await asyncio.to_thread(self._store.recorded, shown)
        now = self._clock()
        if now - self._planned_at > STANDSTILL:
            logger.warning("no plan was made for %d s; leases are counted anew", (now - self._planned_at).seconds)
            self._up_since = now
        self._planned_at = now
        # In a thread: with thousands of jobs it takes long enough for requests to notice.
        actions = await asyncio.to_thread(plan, World(recorded, views, self._up_since), now, self._rules)
        changed = await self._record(actions, now)
        for action in actions:
            if isinstance(action, Cancel):
                self._calls[action.backend].cancel(action)
            elif isinstance(action, Forget):
                self._calls[action.backend].forget(action)
        self._set_pace(recorded)
        return changed

    async def _record(self, actions: Sequence[Action], now: datetime) -> bool:
        news = [action for action in actions if isinstance(action, Report) and self._is_news(action)]
        records = [action for action in actions if isinstance(action, Record | Submit | EndCluster | Adopt)]
        if not records and not news:
            return False
        applied = await asyncio.to_thread(self._store.apply, [*records, *news], now)
        self._reported.update((report.backend, report.findings) for report in news)
        for submit in applied.submit:
            self._calls[submit.backend].submit(submit)
        return applied.changed

    def _is_news(self, report: Report) -> bool:
        return self._reported.get(report.backend) != report.findings

    def _set_pace(self, recorded: Recorded) -> None:
        """Look often where something moves, seldom where nothing is."""
        for name, watch in self._watches.items():
            here = [job for job in recorded.jobs if job.backend == name]
            watch.drop_cancels_but({job.id for job in here} | recorded.ended.keys())
            watch.expect(_expected(here))
            watch.set_interval(_interval_s(here, watch.backend.pace))


def _interval_s(jobs: Sequence[Job], pace: Pace) -> float:
    if not jobs:
        return pace.empty_s
    is_moving = any(job.state in _MOVING or job.unknown_since is not None for job in jobs)
    return pace.moving_s if is_moving else pace.steady_s


def _expected(jobs: Sequence[Job]) -> list[Expected]:
    return [Expected(job.id, job.batch, job.index, job.created_at) for job in jobs if job.state in _THERE]


def _make_rules(instance: str, settings: Settings, spec_rules: SpecRules) -> Rules:
    idle = settings.idle.notebook
    return Rules(
        instance=instance,
        signing_key=spec_rules.signing_key,
        unknown_grace=timedelta(seconds=settings.unknown_grace),
        idle_notebook=timedelta(seconds=idle) if idle else None,
        keep_logs=timedelta(seconds=settings.keep_logs),
    )
