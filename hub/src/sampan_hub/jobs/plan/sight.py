"""What listings say of one job, and how far they may be believed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sampan_hub.backends.base import Listing, Observed, Phase
from sampan_hub.jobs.keys import instance_of, is_signed
from sampan_hub.jobs.model import Job, State, Wanted
from sampan_hub.jobs.plan.world import BackendView, Rules

ALIVE = frozenset({Phase.QUEUED, Phase.RUNNING})
PRESENT = frozenset({State.QUEUED, State.STARTING, State.RUNNING, State.STOPPING})
"""States in which a full listing should show the job."""


def is_ours(observed: Observed, rules: Rules) -> bool:
    """Whether the identity it carries was made here, for this key and this owner."""
    identity = observed.identity
    return (
        identity is not None
        and instance_of(observed.job_id) == rules.instance
        and identity.job_id == observed.job_id
        and identity.owner == observed.owner
        and is_signed(rules.signing_key, identity)
    )


def is_evidence(observed: Observed, job: Job, rules: Rules) -> bool:
    """Whether it speaks of this recorded job: a forged identity does not, an unreadable one of the same owner does."""
    if observed.owner != job.owner:
        return False
    return observed.identity is None or is_ours(observed, rules)


@dataclass(frozen=True, slots=True)
class Look:
    """One listing, by job."""

    listing: Listing
    shown: Mapping[str, tuple[Observed, ...]]

    def of(self, job: Job, rules: Rules) -> Observed | None:
        """What it shows of this job: the bound run before others, what lives before what ended."""
        candidates = [seen for seen in self.shown.get(job.id, ()) if is_evidence(seen, job, rules)]
        return min(candidates, key=lambda seen: _rank(seen, job)) if candidates else None


def _rank(observed: Observed, job: Job) -> tuple[bool, bool]:
    return (observed.phase is Phase.ENDED, job.run is not None and observed.run != job.run)


@dataclass(frozen=True, slots=True)
class Sight:
    """One backend as the plan sees it."""

    view: BackendView
    looks: tuple[Look, ...]
    """The two newest listings at most, oldest first."""
    all_vanished: bool
    """The newest listing shows none of the jobs that should be there: that is a fault of the listing until proven."""
    all_vanished_of_those_not_lost: bool

    @property
    def latest(self) -> Look | None:
        return self.looks[-1] if self.looks else None

    def is_failing(self, now: datetime, rules: Rules) -> bool:
        since = self.view.failing_since
        return since is not None and now - since >= rules.unknown_after

    def absent_twice(self, job: Job, after: datetime) -> bool:
        """Whether two full listings, both begun later than `after`, do not show the job in any phase."""
        return len(self.looks) == 2 and all(
            look.listing.begun_at > after and job.id not in look.shown for look in self.looks
        )


def make_sight(view: BackendView, jobs: Iterable[Job], rules: Rules) -> Sight:
    """Read one backend's listings for the jobs recorded there."""
    looks = tuple(_look(listing) for listing in view.listings[-2:])
    recorded = [job for job in jobs if job.backend == view.name]
    return Sight(
        view,
        looks,
        any(_all_vanished(look, recorded, rules) for look in looks),
        any(_all_vanished(look, [job for job in recorded if not job.lost], rules) for look in looks),
    )


def _look(listing: Listing) -> Look:
    shown: dict[str, list[Observed]] = defaultdict(list)
    for observed in listing.jobs:
        shown[observed.job_id].append(observed)
    return Look(listing, {job_id: tuple(seen) for job_id, seen in shown.items()})


def _all_vanished(look: Look, jobs: Iterable[Job], rules: Rules) -> bool:
    expected = [job for job in jobs if job.state in PRESENT and _since(job) < look.listing.begun_at]
    if any(look.of(job, rules) is not None for job in expected):
        return False
    # Jobs that were asked to stop are expected to go, also all at once.
    return any(job.wanted is Wanted.RUN for job in expected)


def _since(job: Job) -> datetime:
    return job.state_since or job.created_at
