"""Who may have what: limits against use. Pure; the store calls it inside the transaction that inserts the jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sampan_hub.jobs.drafts import Refusal
from sampan_hub.jobs.model import Resources
from sampan_hub.settings.model import Limit, Limits

NOTHING = Resources(0, 0, 0)
UNLIMITED = 1_000_000
"""What `allowed_now` answers where no limit applies."""


@dataclass(frozen=True, slots=True)
class Held:
    """What one user, project or the whole site holds now."""

    resources: Resources = NOTHING
    jobs: int = 0

    def plus(self, resources: Resources) -> Held:
        return Held(self.resources + resources, self.jobs + 1)


@dataclass(frozen=True, slots=True)
class Usage:
    """What the owner, the project and the site hold: jobs neither ended nor lost."""

    user: Held = Held()
    project: Held = Held()
    site: Held = Held()

    def plus(self, resources: Resources) -> Usage:
        return Usage(self.user.plus(resources), self.project.plus(resources), self.site.plus(resources))


@dataclass(frozen=True, slots=True)
class Bound:
    """One limit that applies: `user.cores` with its maximum in the unit that usage is counted in."""

    scope: str
    quantity: str
    maximum: int

    @property
    def name(self) -> str:
        return f"{self.scope}.{self.quantity}"


def bounds(limits: Limits, owner: str, project: str) -> tuple[Bound, ...]:
    """Every limit that applies to this owner and project, the narrowest scope first; overrides replace whole."""
    scopes = {
        "user": limits.users.get(owner, limits.user),
        "project": limits.projects.get(project, limits.project),
        "site": limits.site,
    }
    return tuple(
        Bound(scope, quantity, maximum)
        for scope, limit in scopes.items()
        for quantity, maximum in _maxima(limit)
        if maximum is not None
    )


def admit(
    usage: Usage, limits: Limits, owner: str, project: str, asks: Sequence[Resources], *, strict: bool = False
) -> list[Refusal | None]:
    """One decision per ask, in request order: None is yes. What fits is taken, the rest is refused by name.

    `strict`: unless everything fits, nothing is taken.
    """
    applying = bounds(limits, owner, project)
    decisions: list[Refusal | None] = []
    for ask in asks:
        refusal = _first_exceeded(usage, applying, ask, limits.raised_by)
        if refusal is None:
            usage = usage.plus(ask)
        decisions.append(refusal)
    if strict and any(decisions):
        return [refusal or _STRICT for refusal in decisions]
    return decisions


def allowed_now(usage: Usage, limits: Limits, owner: str, project: str, ask: Resources) -> int:
    """How many more jobs of these resources would be admitted now; UNLIMITED where nothing bounds them."""
    most = UNLIMITED
    for bound in bounds(limits, owner, project):
        each = _amount(bound.quantity, Held().plus(ask))
        if each:
            left = bound.maximum - _used(usage, bound)
            most = min(most, max(0, left // each))
    return most


_STRICT = Refusal("strict", "Not started, because the request was to start all or none and not all fit.")


def _maxima(limit: Limit) -> tuple[tuple[str, int | None], ...]:
    cores_milli = None if limit.cores is None else round(limit.cores * 1000)
    return (("cores", cores_milli), ("memory", limit.memory), ("gpus", limit.gpus), ("jobs", limit.jobs))


def _amount(quantity: str, held: Held) -> int:
    return {
        "cores": held.resources.cores_milli,
        "memory": held.resources.memory_bytes,
        "gpus": held.resources.gpus,
        "jobs": held.jobs,
    }[quantity]


def _used(usage: Usage, bound: Bound) -> int:
    held: Held = getattr(usage, bound.scope)
    return _amount(bound.quantity, held)


def _first_exceeded(usage: Usage, applying: Sequence[Bound], ask: Resources, raised_by: str) -> Refusal | None:
    for bound in applying:
        used, asked = _used(usage, bound), _amount(bound.quantity, Held().plus(ask))
        if asked and used + asked > bound.maximum:
            refusal = Refusal("over-limit", "", bound.name, used, asked, bound.maximum, raised_by)
            return replace(refusal, text=_sentence(bound, used, asked, raised_by))
    return None


_WHOSE = {"user": "Your limit", "project": "The project's limit", "site": "The site's limit"}


def _sentence(bound: Bound, used: int, asked: int, raised_by: str) -> str:
    used_text, asked_text, maximum_text = (_words(bound.quantity, n) for n in (used, asked, bound.maximum))
    return (
        f"{_WHOSE[bound.scope]} is {maximum_text}; {used_text} in use, {asked_text} asked for. "
        f"It can be raised by {raised_by}."
    )


def _words(quantity: str, amount: int) -> str:
    if quantity == "cores":
        return f"{amount / 1000:g} cores"
    if quantity == "memory":
        return f"{round(amount / 2**30, 1):g} GiB of memory"
    return f"{amount} {'GPUs' if quantity == 'gpus' else 'jobs'}"
