"""Workers whose walltime ends: each is replaced and let go before, one after the other, so that no task runs twice."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sampan.host import draining

if TYPE_CHECKING:
    from sampan.host.cluster import HostCluster

log = logging.getLogger("sampan.host")

LOOK_S = 0.5
LEAD_S = 300.0
"""How long before its drain a worker's replacement is asked for, at most: a third of the worker's time."""
MARGIN_S = 10.0
"""Between the end of a drain and the walltime's, at most: a tenth of the worker's time."""
GAP_S = 10.0
"""Between two turns, at most: a fifteenth of the worker's time. In the place of one another may come before the next
goes, and take its results."""


@dataclass(frozen=True, slots=True)
class Timed:
    """One worker that is there and whose time is limited. Times are seconds since the epoch."""

    name: str
    begun_s: float
    end_s: float
    """When its backend ends it."""
    drain_s: float
    """How long it will take to let it go: the longest task that may be under way, and moving its results."""
    leaving: bool = False
    """Its replacement was asked for."""
    draining: bool = False
    covered: bool = False
    """Without it there are as many workers as should be (or there can be no more before it goes)."""

    @property
    def until_s(self) -> float:
        """When it must be gone."""
        return self.end_s - min(MARGIN_S, self._life_s / 10)

    @property
    def gap_s(self) -> float:
        return min(GAP_S, self._life_s / 15)

    @property
    def lead_s(self) -> float:
        return min(LEAD_S, self._life_s / 3)

    @property
    def earliest_s(self) -> float:
        """Half its time is for work, whatever its tasks take: else workers would do nothing but replace each other."""
        return self.end_s - self._life_s / 2

    @property
    def last_moment_s(self) -> float:
        """Let go later than this, a task may be cut off."""
        return max(self.earliest_s, self.until_s - self.drain_s)

    @property
    def _life_s(self) -> float:
        return max(0.0, self.end_s - self.begun_s)


@dataclass(frozen=True, slots=True)
class Replace:
    """Ask for another worker in place of this one, which works on until that is there."""

    name: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Let this worker go, by `until_s` at the latest."""

    name: str
    until_s: float


def plan_drains(now_s: float, workers: Iterable[Timed]) -> list[Replace | Drain]:
    """What to do now so that all are gone in time, one after the other; called again and again.

    A replaced worker goes as soon as its replacement is there, or else when its turn comes. Turns are counted back
    from the ends. Only who would come too late by waiting for its turn goes beside another one.
    """
    going_first = sorted(workers, key=lambda worker: (worker.end_s, worker.name))
    turns_s = _turns(going_first)
    is_busy = any(worker.draining for worker in going_first)
    actions: list[Replace | Drain] = []
    for worker in going_first:
        if worker.draining:
            continue
        turn_s = turns_s[worker.name]
        if not worker.leaving and now_s >= max(worker.earliest_s, turn_s - worker.lead_s):
            actions.append(Replace(worker.name))
        is_due = (worker.leaving and worker.covered) or now_s >= turn_s
        if now_s >= worker.last_moment_s or (is_due and not is_busy):
            actions.append(Drain(worker.name, worker.until_s))
            is_busy = True
    return actions


def _turns(going_first: Sequence[Timed]) -> dict[str, float]:
    """When the drain of each begins, as late as all fit one after the other."""
    turns_s = {}
    next_s = float("inf")
    for worker in reversed(going_first):
        if not worker.draining:
            next_s = min(worker.until_s, next_s) - worker.drain_s - worker.gap_s
            turns_s[worker.name] = max(worker.earliest_s, next_s)
    return turns_s


def read_times(job: Mapping[str, Any]) -> tuple[float, float] | None:
    """(begun, end) of a worker's job from the feed; None while no end is announced."""
    end, begun = job.get("deadline"), job.get("started_at") or job.get("claimed_at")
    if end is None or begun is None or job["state"] == "ended" or job["lost"]:
        return None
    return datetime.fromisoformat(begun).timestamp(), datetime.fromisoformat(end).timestamp()


class Deadlines:
    """Acts on the ends that the feed announces for the workers of one cluster."""

    def __init__(self, cluster: HostCluster) -> None:
        self._cluster = cluster
        self._is_failing = False

    async def follow(self, stop: asyncio.Event) -> None:
        """Look again and again until told to stop; nothing here waits for the service, which may be away."""
        while not stop.is_set():
            self._look_if_possible()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await stop.wait()

    def _look_if_possible(self) -> None:
        try:
            self._look()
        except Exception:  # another version of Dask, say: without this the cluster works on, with it gone nothing does
            if not self._is_failing:
                log.exception("The ends of workers cannot be looked at; it is tried again and again")
            self._is_failing = True
        else:
            self._is_failing = False

    def _look(self) -> None:
        """Begin what is due now."""
        going = self._cluster.going
        times = {job["name"]: read for job in self._cluster.last_jobs if (read := read_times(job)) is not None}
        going.keep_leaving(times)
        actions = plan_drains(time.time(), self._make_timed(times)) if times else []
        replaced = [action.name for action in actions if isinstance(action, Replace)]
        if replaced:
            log.info("Asking for others in place of %s, whose walltime ends soon", ", ".join(replaced))
            going.replace(replaced)
        for action in actions:
            if isinstance(action, Drain):
                log.info("Letting worker %s go before its walltime ends", action.name)
                going.let_go([action.name], action.until_s)

    def _make_timed(self, times: Mapping[str, tuple[float, float]]) -> list[Timed]:
        cluster, going = self._cluster, self._cluster.going
        there = {state.name: state for state in cluster.scheduler.workers.values() if state.name in times}
        longest_s = draining.longest_task_s(cluster.scheduler)
        return [
            Timed(
                name=name,
                begun_s=times[name][0],
                end_s=times[name][1],
                drain_s=draining.estimate_s(cluster.scheduler, state, longest_s),
                leaving=name in going.leaving,
                draining=name in going.draining,
                covered=name in going.leaving and going.is_covered(name),
            )
            for name, state in there.items()
            if name in cluster.worker_spec
        ]
