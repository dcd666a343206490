"""What a job's record becomes when the backend's listings are taken into account."""

from __future__ import annotations

from datetime import datetime, timedelta

from sampan_hub.backends.base import Observed, Phase
from sampan_hub.jobs.model import Exit, Job, Reason, State, Wanted, is_legal
from sampan_hub.jobs.plan.sight import PRESENT, Sight
from sampan_hub.jobs.plan.world import Rules

GONE = Reason("vanished", "The backend no longer knows the job.")
NEVER_ARRIVED = Reason("stopped", "Stopped before it began.")
LOST = Reason("lost", "The job could not be seen for too long and was given up; if it is seen again it is stopped.")
FOUND = Reason("lost-and-found", "The job had been given up and was seen again, so it is stopped.")


def see(job: Job, sight: Sight | None, now: datetime, up_since: datetime, rules: Rules) -> Job:
    """The job as far as the backend shows it; unknown is never an end."""
    if sight is None and job.state is State.ACCEPTED:
        text = f"The backend {job.backend} is not in the settings any more; stop this and choose another."
        return job.with_(reason=Reason("backend-missing", text), position=None)
    if sight is None or sight.is_failing(now, rules):
        since = sight.view.failing_since if sight is not None else up_since
        after = _mark_unknown(job, since or now)
    else:
        after = _listed(job, sight, now, rules)
    return _give_up(after, now, up_since, rules)


def _listed(job: Job, sight: Sight, now: datetime, rules: Rules) -> Job:
    if sight.latest is None:
        return job
    observed = sight.latest.of(job, rules)
    if observed is None:
        return _absent(job, sight, now, rules) if job.id not in sight.latest.shown else job
    if observed.phase is Phase.ENDED:
        return end(job, now, observed=observed)
    if observed.phase is Phase.UNKNOWN:
        return job
    return _alive(job, observed, sight.latest.listing.begun_at, now)


def _alive(job: Job, observed: Observed, begun_at: datetime, now: datetime) -> Job:
    after = job.with_(unknown_since=None)
    if job.unknown_since is not None:
        after = after.with_(last_seen_at=now)
    if job.lost and job.wanted is Wanted.RUN:
        after = after.with_(wanted=Wanted.STOP, reason=FOUND)
    state = State.QUEUED if observed.phase is Phase.QUEUED else State.STARTING
    if _moves(job, state, begun_at):
        after = after.with_(state=state, last_seen_at=now)
        if job.wanted is Wanted.RUN:
            after = after.with_(reason=None)
    if after.state is State.QUEUED:
        reason = observed.reason if job.wanted is Wanted.RUN else after.reason
        return after.with_(position=observed.position, reason=reason, deadline=None)
    started_at = after.started_at or observed.started_at or now
    return after.with_(position=None, started_at=started_at, deadline=observed.deadline)


def _moves(job: Job, state: State, begun_at: datetime) -> bool:
    if job.state is state or not is_legal(job.state, state):
        return False
    if state is State.QUEUED and job.state is State.STARTING:
        # Requeued; but a listing from before the start says nothing new, and a claimed run is not taken back.
        return job.claimed_at is None and job.state_since is not None and begun_at > job.state_since
    return True


def _absent(job: Job, sight: Sight, now: datetime, rules: Rules) -> Job:
    since = job.state_since or job.created_at
    latest = sight.looks[-1].listing
    if job.state is State.SUBMITTING:
        silence = timedelta(seconds=sight.view.submit_timeout_s) + rules.submit_grace
        if sight.absent_twice(job, since + silence) and not sight.all_vanished_of_those_not_lost:
            return _never_arrived(job, now)
        return job.with_(unknown_since=None)
    if job.state not in PRESENT or latest.begun_at <= since:
        return job
    if not latest.complete_history and sight.absent_twice(job, since) and not sight.all_vanished:
        return end(job, now, reason=GONE)
    return _mark_unknown(job, latest.begun_at)


def _never_arrived(job: Job, now: datetime) -> Job:
    if job.wanted is Wanted.RUN and not job.lost:
        return job.with_(state=State.ACCEPTED, unknown_since=None, reason=None)
    return end(job, now, reason=NEVER_ARRIVED)


def _mark_unknown(job: Job, since: datetime) -> Job:
    if job.state not in PRESENT and job.state is not State.SUBMITTING:
        return job
    return job if job.unknown_since is not None else job.with_(unknown_since=since)


def _give_up(job: Job, now: datetime, up_since: datetime, rules: Rules) -> Job:
    if job.lost or job.is_ended or job.unknown_since is None:
        return job
    if now - max(job.unknown_since, up_since) < rules.unknown_grace:
        return job
    return job.with_(lost=True, reason=job.reason if job.wanted is Wanted.STOP else LOST)


def end(job: Job, now: datetime, *, observed: Observed | None = None, reason: Reason | None = None) -> Job:
    """The job's end: by its own or its owner's reason if there is one, else by the backend's, else by its exit."""
    exit_ = observed.exit if observed is not None else job.exit
    own = job.reason if job.wanted is Wanted.STOP or job.state in {State.STARTING, State.RUNNING} else None
    shown = observed.reason if observed is not None else None
    return job.with_(
        state=State.ENDED,
        reason=own or shown or reason or explain(exit_),
        exit=exit_,
        unknown_since=None,
        position=None,
        busy=False,
        started_at=job.started_at or (observed.started_at if observed is not None else None),
        ended_at=(observed.ended_at if observed is not None else None) or now,
    )


def explain(exit_: Exit | None) -> Reason:
    """An exit in words."""
    if exit_ is None or (exit_.code is None and exit_.signal is None):
        return Reason("ended", "The job ended; how is not on record.")
    if exit_.signal is not None:
        return Reason("killed", f"The job was ended by signal {exit_.signal}.")
    if exit_.code == 0:
        return Reason("finished", "The job finished.")
    return Reason("failed", f"The job ended with exit code {exit_.code}.")
