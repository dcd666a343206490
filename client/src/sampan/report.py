"""What a cluster tells its owner: a quote, its cost, and why workers are not there yet. Pure functions of answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

MICROS = 1_000_000


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of the site's currency."""

    micros: int
    currency: str

    @property
    def amount(self) -> Decimal:
        return Decimal(self.micros) / MICROS

    def __str__(self) -> str:
        return f"{self.amount:,.2f} {self.currency}"


@dataclass(frozen=True, slots=True)
class Quote:
    """What `workers` of a size would take and cost, and how many one may have now."""

    workers: int
    size: str
    cores: float
    memory_bytes: int
    gpus: int
    per_hour: Money | None
    """None: this site has no prices."""
    allowed_now: int
    free_now: int | None

    def __str__(self) -> str:
        text = f"{self.workers} × {self.size}: {self.cores:g} cores, {self.memory_bytes / 2**30:.1f} GiB"
        if self.gpus:
            text += f", {self.gpus} GPU"
        text += f"; {self.per_hour} per hour" if self.per_hour else "; no price"
        text += f"; you may have {self.allowed_now} now"
        if self.free_now is not None:
            text += f", {self.free_now} would start at once"
        return text


def make_quote(offers: Mapping[str, Any], workers: int, size: str | None) -> Quote:
    """The quote from the service's offers. ValueError when there is no such size."""
    wanted = size or offers["default_size"]
    offer = next((each for each in offers["sizes"] if each["name"] == wanted), None)
    if offer is None:
        names = ", ".join(each["name"] for each in offers["sizes"])
        raise ValueError(f"size {wanted!r} is not offered; there are: {names}")
    price = offer["price_micros_per_hour"]
    currency = offers["currency"]
    return Quote(
        workers=workers,
        size=wanted,
        cores=workers * offer["cores_milli"] / 1000,
        memory_bytes=workers * offer["memory_bytes"],
        gpus=workers * offer["gpus"],
        per_hour=None if price is None or currency is None else Money(workers * price, currency),
        allowed_now=offer["allowed_now"],
        free_now=offer["free_now"],
    )


def make_cost(jobs: Sequence[Mapping[str, Any]], currency: str | None) -> Money | None:
    """What these jobs cost so far; None where nothing has a price."""
    costs = [job["cost_micros"] for job in jobs if job["cost_micros"] is not None]
    return Money(sum(costs), currency) if costs and currency is not None else None


def describe_waiting(info: Mapping[str, Any], jobs: Sequence[Mapping[str, Any]], tails: Mapping[str, str]) -> str:
    """Why am I waiting? How many are there of how many wanted, then every cause, the most telling first.

    `tails`: worker name -> the end of its output, for those that ended by themselves.
    """
    wanted = sum(info["wanted"].values())
    lines = [f"Cluster {info['name']}: {info['workers']} of {wanted} workers are here."]
    if info["adapt"] is not None:
        low, high = info["adapt"]
        lines.append(f"It adapts between {low} and {high} as tasks need; without tasks there are {low}.")
    if info["rested"]:
        lines.append("Its workers rest because there were no tasks; they come back with the next one.")
    if info["refused"]:
        lines.append(f"Refused: {info['refused'].get('detail') or info['refused'].get('title')}")
    if info["braked"]:
        lines.append(f"No more replacements until you scale again: {info['braked']}")
    live = [job for job in jobs if job["state"] not in ("running", "ended")]
    for job in sorted(live, key=lambda job: (job["position"] or 0, job["name"])):
        lines.append(_describe_job(job))
    for name, text in tails.items():
        lines.append(f"The last words of {name}:\n" + "\n".join(f"  | {line}" for line in text.splitlines()))
    if len(lines) == 1 and info["workers"] >= wanted:
        lines.append("Nothing is waited for.")
    return "\n".join(lines + _describe_deadlines(info, jobs))


def _describe_deadlines(info: Mapping[str, Any], jobs: Sequence[Mapping[str, Any]]) -> list[str]:
    """When time runs out for the first of them, and who is being replaced because of that."""
    ends = {job["name"]: job["deadline"] for job in jobs if job.get("deadline") and job["state"] == "running"}
    if not ends:
        return []
    first = min(ends.values(), key=datetime.fromisoformat)
    lines = [f"The first worker ends at {_tell_time(first)} (walltime); others take over before that."]
    for name in info.get("leaving", ()):
        if name in ends:
            lines.append(f"{name} is being replaced: it ends at {_tell_time(ends[name])}.")
    return lines


def _tell_time(time: str) -> str:
    """A time of the service as clocks here show it."""
    return f"{datetime.fromisoformat(time).astimezone():%Y-%m-%d %H:%M}"


def _describe_job(job: Mapping[str, Any]) -> str:
    text = f"{job['name']}: {job['state']}"
    if job["position"] is not None:
        text += f", place {job['position']} in the queue"
    if job["reason"]:
        text += f" – {job['reason']['text']}"
    if job["unknown_since"]:
        text += f" (its backend cannot be asked since {job['unknown_since']})"
    return text


def failed_workers(jobs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Workers that ended without being asked to, the latest last."""
    failed = [job for job in jobs if job["state"] == "ended" and job["wanted"] == "run"]
    return sorted(failed, key=lambda job: str(job["ended_at"]))


def count_states(jobs: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many jobs are in which state, ended ones left out."""
    return dict(Counter(job["state"] for job in jobs if job["state"] != "ended"))
