"""What listings show that is not recorded as running, and everything else an administrator should know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from sampan_hub.backends.base import Observed, Phase
from sampan_hub.jobs.model import Finding, Job
from sampan_hub.jobs.plan.actions import Adopt, Forget, Report
from sampan_hub.jobs.plan.sight import ALIVE, Look, Sight, is_evidence, is_ours
from sampan_hub.jobs.plan.world import Recorded, Rules


def adopt(sight: Sight, recorded: Recorded, rules: Rules) -> Iterator[Adopt]:
    """What runs under our signature without a row."""
    for observed in _without_row(sight, recorded):
        if is_ours(observed, rules):
            yield Adopt(sight.view.name, observed)


def undead(sight: Sight, recorded: Recorded, rules: Rules) -> list[str]:
    """Jobs recorded as ended that a later listing shows alive under our signature: they are to be stopped."""
    if sight.latest is None:
        return []
    begun_at = sight.latest.listing.begun_at
    return [
        observed.job_id
        for observed in _alive(sight.latest)
        if observed.job_id in recorded.ended and begun_at > recorded.ended[observed.job_id] and is_ours(observed, rules)
    ]


def forget(sight: Sight, recorded: Recorded, now: datetime, rules: Rules) -> Iterator[Forget]:
    """Records and output older than they are kept."""
    if sight.latest is None:
        return
    open_ids = {job.id for job in recorded.jobs}
    old = tuple(
        observed.job_id
        for observed in sight.latest.listing.jobs
        if observed.phase is Phase.ENDED
        and observed.ended_at is not None
        and now - observed.ended_at > rules.keep_logs
        and observed.job_id not in open_ids
    )
    if old:
        yield Forget(sight.view.name, old)


def report(sight: Sight, recorded: Recorded, now: datetime, rules: Rules) -> Iterator[Report]:
    """All present findings of one backend, as soon as anything is known of it."""
    if sight.latest is None and not sight.is_failing(now, rules):
        return
    jobs = [job for job in recorded.jobs if job.backend == sight.view.name]
    found = [
        *_silence(sight, now, rules),
        *_strangers(sight, recorded, jobs, rules),
        *_undead(sight, recorded, rules),
        *_lost(jobs),
        *_leftovers(sight),
        *_troubles(sight),
    ]
    unique = {(finding.code, finding.subject): finding for finding in found}
    yield Report(sight.view.name, tuple(unique.values()))


def _alive(look: Look) -> list[Observed]:
    return [observed for seen in look.shown.values() for observed in seen if observed.phase in ALIVE]


def _without_row(sight: Sight, recorded: Recorded) -> list[Observed]:
    if sight.latest is None:
        return []
    known = {job.id for job in recorded.jobs} | recorded.ended.keys()
    return [observed for observed in _alive(sight.latest) if observed.job_id not in known]


def _silence(sight: Sight, now: datetime, rules: Rules) -> Iterator[Finding]:
    since = sight.view.failing_since
    if since is not None and sight.is_failing(now, rules):
        text = f"{sight.view.name} has not answered since {since:%Y-%m-%d %H:%M:%S} UTC; nothing is known of its jobs."
        remedy = "Look at the service's log for the error, and whether the backend itself runs."
        yield Finding("backend-silent", sight.view.name, text, remedy, sight.view.name)


def _strangers(sight: Sight, recorded: Recorded, jobs: Sequence[Job], rules: Rules) -> Iterator[Finding]:
    rows = {job.id: job for job in jobs}
    suspects = [observed for observed in _without_row(sight, recorded) if not is_ours(observed, rules)]
    if sight.latest is not None:
        for observed in _alive(sight.latest):
            row = rows.get(observed.job_id)
            if row is not None and not is_evidence(observed, row, rules):
                suspects.append(observed)
    remedy = f"Nothing was done to it. Ask {{owner}} what it is; end it on {sight.view.name} if it should not be there."
    for observed in suspects:
        text = f"{observed.job_id} of {observed.owner} carries this installation's id without its signature."
        yield Finding("forged", observed.job_id, text, remedy.format(owner=observed.owner), sight.view.name)


def _undead(sight: Sight, recorded: Recorded, rules: Rules) -> Iterator[Finding]:
    for job_id in undead(sight, recorded, rules):
        text = f"{job_id} is recorded as ended and runs; it is being stopped."
        yield Finding("ended-but-runs", job_id, text, "Report it if it stays: this should not happen.", sight.view.name)


def _lost(jobs: Sequence[Job]) -> Iterator[Finding]:
    for job in jobs:
        if job.lost:
            text = f"{job.id} of {job.owner} was last known on {job.backend} and cannot be seen any more."
            remedy = f"See on {job.backend} whether it still runs; it is stopped if it is seen again."
            yield Finding("lost", job.id, text, remedy, job.backend)


def _leftovers(sight: Sight) -> Iterator[Finding]:
    for leftover in sight.latest.listing.leftovers if sight.latest is not None else ():
        text = f"Left on {sight.view.name}: {leftover}"
        yield Finding("leftover", leftover, text, "Remove it once nobody needs it.", sight.view.name)


def _troubles(sight: Sight) -> Iterator[Finding]:
    for trouble in sight.latest.listing.troubles if sight.latest is not None else ():
        remedy = f"Nothing was done about it, and no job was changed by it. Look at it on {sight.view.name}."
        yield Finding("trouble", trouble, trouble, remedy, sight.view.name)
