"""Which versions of an environment nobody needs any more. Pure, but for looking at this machine's processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

SLACK = timedelta(minutes=2)
"""Between a version's time and the moment of the switch, and between two machines' clocks."""


@dataclass(frozen=True, slots=True)
class JobTimes:
    """When a job that has not ended was asked for, and when it began; None while it waits."""

    created_at: datetime
    started_at: datetime | None


@dataclass(frozen=True, slots=True)
class Verdict:
    remove: list[int]
    keep: dict[int, str]
    """Why, in words."""


def parse_jobs(answer: Mapping[str, Any]) -> list[JobTimes]:
    """What `sampan jobs --json` says."""

    def when(text: str | None) -> datetime | None:
        return None if text is None else datetime.fromisoformat(text).astimezone(UTC)

    found = []
    for job in answer["jobs"]:
        created_at = when(job["created_at"])
        if created_at is not None and job["state"] != "ended":
            found.append(JobTimes(created_at, when(job["started_at"])))
    return found


def judge(
    linked: int | None, made_at: Mapping[int, datetime], jobs: Sequence[JobTimes], mapped: Mapping[int, int]
) -> Verdict:
    """Kept: what the link leads to, the version before it, and what a job or process may run from.

    `made_at`: of every finished version. `mapped`: how many processes of this machine have files of a version open.
    """
    numbers = sorted(made_at)
    previous = max((number for number in numbers if linked is not None and number < linked), default=None)
    remove, keep = [], {}
    for number in numbers:
        users = sum(_may_use(job, number, made_at) for job in jobs)
        if number == linked:
            keep[number] = "it is the one in use"
        elif number == previous:
            keep[number] = "it is the one before"
        elif users:
            keep[number] = f"{users} job{'s' if users > 1 else ''} may run from it"
        elif mapped.get(number):
            keep[number] = f"{mapped[number]} process{'es' if mapped[number] > 1 else ''} of this machine run from it"
        else:
            remove.append(number)
    return Verdict(remove, keep)


def _may_use(job: JobTimes, number: int, made_at: Mapping[int, datetime]) -> bool:
    """Whether the link led to that version at some moment between the job's request and its start."""
    later = [made_at[other] for other in made_at if other > number]
    began_before_it = job.started_at is not None and job.started_at < made_at[number] - SLACK
    asked_after_it = bool(later) and job.created_at > min(later) + SLACK
    return not (began_before_it or asked_after_it)


def count_mapped(folders: Mapping[int, Path], processes: Path = Path("/proc")) -> dict[int, int]:
    """How many processes have files of each folder in their memory; of those that we may look at."""
    counts = dict.fromkeys(folders, 0)
    for entry in processes.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "maps").read_text(errors="replace")
        except OSError:  # ended meanwhile, or not ours to look at
            continue
        for number, folder in folders.items():
            counts[number] += f" {folder}/" in text
    return counts
