"""What a host decides, as functions of plain data: how many to ask for, who died, when to rest, when to stop trying."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

BRAKE_WINDOW_S = 60.0
BRAKE_DEATHS = 3
HELD_FACTOR = 4
"""Results held on workers keep them this many times longer than idleness alone would."""
FATAL_REASONS = ("environment-differs",)
"""Ends that no replacement can escape."""
EXPECTED_REASONS = ("walltime",)
"""Ends that say nothing about the next worker."""


def plan_changes(
    wanted: Mapping[str, int], have: Mapping[str, int], caps: Mapping[str, int], braked: bool
) -> dict[str, int]:
    """Per size how many workers to add (+) or retire (-). Caps and brake limit what is added, nothing else."""
    changes = {}
    for size in {**wanted, **have}:
        target, existing = wanted.get(size, 0), have.get(size, 0)
        if target > existing:
            target = existing if braked else max(existing, min(target, caps.get(size, target)))
        if target != existing:
            changes[size] = target - existing
    return changes


def choose_to_retire(names: Sequence[str], arrived: Collection[str], preferred: Sequence[str], count: int) -> list[str]:
    """`count` of `names`: the latest that have not arrived first, then in the scheduler's order of preference."""
    waiting = [name for name in reversed(names) if name not in arrived]
    ordered = waiting + [name for name in preferred if name in names]
    ordered += [name for name in reversed(names) if name not in ordered]
    return ordered[:count]


def allowed_workers(offers: Mapping[str, Any], size: str) -> int:
    """How many more workers of this size one may have now: what limits allow, and no more than would start at once."""
    wanted = size or offers["default_size"]
    for offer in offers["sizes"]:
        if offer["name"] == wanted:
            free = offer.get("free_now")
            return int(offer["allowed_now"] if free is None else min(offer["allowed_now"], free))
    return 0


def count_holding(jobs: Iterable[Mapping[str, Any]]) -> int:
    """How many of these workers have their share of limits and machine for certain."""
    return sum(job["state"] in ("starting", "running") and not job["lost"] for job in jobs)


def is_arriving(jobs: Iterable[Mapping[str, Any]]) -> bool:
    """Whether some of these workers are on their way, and not waiting for room."""
    return any(job["state"] in ("submitting", "starting") for job in jobs)


@dataclass(frozen=True, slots=True)
class Ended:
    """A worker that is no more. `asked`: somebody stopped it, so it is not replaced."""

    name: str
    job_id: str
    asked: bool
    code: str
    text: str


def read_ended(job: Mapping[str, Any]) -> Ended | None:
    """What the feed says of one worker's end (lost counts as one); None while it may still work."""
    if job["state"] != "ended" and not job["lost"]:
        return None
    reason = job.get("reason") or {}
    code, text = reason.get("code") or "ended", reason.get("text") or "it ended"
    if job["lost"]:
        code, text = "lost", "the backend has not shown it for too long"
    return Ended(job["name"], job["id"], job["wanted"] == "stop", code, text)


@dataclass(slots=True)
class Brake:
    """Stops the replacement of workers that die as fast as they come; released by the next wish of a person."""

    deaths: list[float] = field(default_factory=list)
    cause: str | None = None

    def record(self, now_s: float, ended: Ended, wanted: int, arrived: bool) -> None:
        """Count an unasked end. One that cannot be helped brakes at once; one that was announced does not count."""
        if ended.code in EXPECTED_REASONS:
            return
        if ended.code in FATAL_REASONS:
            self.cause = f"worker {ended.name}: {ended.text}"
            return
        self.deaths = [then for then in self.deaths if now_s - then < BRAKE_WINDOW_S] + [now_s]
        allowed = max(BRAKE_DEATHS, wanted) * (2 if arrived else 1)
        if len(self.deaths) > allowed:
            self.cause = f"{len(self.deaths)} workers ended within a minute; the last, {ended.name}: {ended.text}"

    def release(self) -> None:
        self.deaths.clear()
        self.cause = None


@dataclass(frozen=True, slots=True)
class Activity:
    """What the scheduler is needed for at one moment."""

    tasks: bool
    """Something runs, waits or could not be placed, the graph changed, or workers are on their way to somebody."""
    held: bool
    """Workers hold results."""
    needed: bool
    """A client or a kernel's Cluster is connected, or a dataset is published."""


@dataclass(slots=True)
class IdleClock:
    """When workers rest and when the whole host ends."""

    timeout_s: float
    since_s: float | None = None

    def look(self, now_s: float, activity: Activity) -> str:
        """`busy`, `idle` (too short to act on), `rest` (workers to their minimum) or `end` (nobody needs the host)."""
        if activity.tasks:
            self.since_s = None
            return "busy"
        if self.since_s is None:
            self.since_s = now_s
        if self.timeout_s <= 0:
            return "idle"
        idle_s = now_s - self.since_s
        if idle_s >= self.timeout_s and not activity.needed:
            return "end"
        return "rest" if idle_s >= self.timeout_s * (HELD_FACTOR if activity.held else 1) else "idle"
