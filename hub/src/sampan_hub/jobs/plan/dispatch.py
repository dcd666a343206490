"""Which accepted jobs go to their backend now, and what the others are told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby

from sampan_hub.jobs.model import Job, Reason, Resources, State, Wanted
from sampan_hub.jobs.plan.actions import Record, Submit
from sampan_hub.jobs.plan.sight import Sight
from sampan_hub.jobs.plan.world import Rules

NOTHING = Resources(0, 0, 0)


def dispatch(sight: Sight, jobs: Sequence[Job], now: datetime, rules: Rules) -> Iterator[Record | Submit]:
    """`jobs`: all of this backend that have not ended, as this plan leaves them, in order of request."""
    waiting = [job for job in jobs if job.state is State.ACCEPTED and job.wanted is Wanted.RUN]
    if sight.is_failing(now, rules):
        silent = Reason("backend-silent", f"{sight.view.name} does not answer; the job starts when it does.")
        yield from _tell(waiting, silent, positions=False)
        return
    capacity = sight.view.capacity
    if capacity is None or sight.latest is None or sight.view.failing_since is not None:
        return
    # A key that the backend shows, in whatever state, is not submitted: what it is must become clear first.
    shown = sight.latest.shown
    waiting = [job for job in waiting if job.id not in shown]
    if capacity.queues or capacity.total is None:
        yield from _submits(sight.view.name, waiting, rules)
        return
    held = sum((job.resources for job in jobs if job.state is not State.ACCEPTED), NOTHING)
    yield from _what_fits(sight.view.name, waiting, held, capacity.total, now, rules)


def _what_fits(
    backend: str, waiting: Sequence[Job], held: Resources, total: Resources, now: datetime, rules: Rules
) -> Iterator[Record | Submit]:
    """First come, first served: nobody overtakes, so the first that waits for room is not starved by smaller ones."""
    going: list[Job] = []
    staying: list[Job] = []
    for job in waiting:
        if not _fits(job.resources, total):
            yield Record(job, _refused(job, backend, total, now))
        elif staying or not _fits(held + job.resources, total):
            staying.append(job)
        else:
            held = held + job.resources
            going.append(job)
    yield from _submits(backend, going, rules)
    yield from _tell(staying, Reason("waiting-for-capacity", _full(backend, held, total)), positions=True)


def _submits(backend: str, jobs: Iterable[Job], rules: Rules) -> Iterator[Submit]:
    for _, group in groupby(jobs, key=lambda job: job.batch):
        batch = tuple(group)
        for start in range(0, len(batch), rules.submit_at_most):
            yield Submit(backend, batch[start : start + rules.submit_at_most])


def _tell(waiting: Sequence[Job], reason: Reason, *, positions: bool) -> Iterator[Record]:
    for place, job in enumerate(waiting, start=1):
        told = job.with_(reason=reason, position=place if positions else None)
        if told != job:
            yield Record(job, told)


def _refused(job: Job, backend: str, total: Resources, now: datetime) -> Job:
    text = f"{job.size} needs {_words(job.resources)}; {backend} has {_words(total)} in all. Choose a smaller size."
    return job.with_(state=State.ENDED, ended_at=now, position=None, reason=Reason("does-not-fit", text))


def _fits(asked: Resources, total: Resources) -> bool:
    return (
        asked.cores_milli <= total.cores_milli and asked.memory_bytes <= total.memory_bytes and asked.gpus <= total.gpus
    )


def _full(backend: str, held: Resources, total: Resources) -> str:
    return f"Waiting for room: {_words(held)} of {_words(total)} on {backend} are in use."


def _words(resources: Resources) -> str:
    text = f"{resources.cores_milli / 1000:g} cores, {round(resources.memory_bytes / 2**30, 1):g} GiB"
    return f"{text}, {resources.gpus} GPUs" if resources.gpus else text
