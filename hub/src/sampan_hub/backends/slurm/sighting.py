"""From a row of the listing to what is said of one of our jobs: whose it is, whether it is signed, how it is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from sampan_hub.backends.base import Identity, Observed, Phase
from sampan_hub.backends.slurm import reasons
from sampan_hub.backends.slurm.comment import Packed, read_comment
from sampan_hub.backends.slurm.listing import Row
from sampan_hub.backends.slurm.names import JobName, make_prefix, parse_job_name, parse_slurm_id
from sampan_hub.jobs.model import RunIdentity

RUN_OF_FIRST_START = "0"
"""Jobs are submitted never to be restarted; a run that Slurm restarted all the same claims another number."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One row that carries our name."""

    row: Row
    name: JobName
    task: int | None
    job_id: str
    identity: Identity | None
    """Signed, and submitted for this very user; None for anything else."""
    first: int | None = None
    """The first task of its array, by which its stage is called."""

    @property
    def owner(self) -> str:
        return self.identity.owner if self.identity is not None else self.row.user

    @property
    def phase(self) -> Phase:
        return self.row.state.meaning.phase


class Reader:
    """Recognises our jobs. What was read once is remembered while it is listed: comments do not change."""

    def __init__(self, instance: str, key: bytes, own_uid: int | None) -> None:
        """`own_uid`: the user as whom everybody's jobs run; None: each person's run as themselves."""
        self._prefix = make_prefix(instance)
        self._key = key
        self._own_uid = own_uid
        self._packed: dict[tuple[str, str], Packed | None] = {}
        self._identities: dict[tuple[str, str, int | None], Identity | None] = {}

    def read(self, rows: Iterable[Row]) -> tuple[list[Sighting], list[str]]:
        """Our jobs, and in words what carries our name and cannot be read as one of them."""
        sightings, strange = [], []
        packed, identities = self._packed, self._identities
        self._packed, self._identities = {}, {}
        for row in rows:
            if not row.name.startswith(self._prefix):
                continue
            name, slurm_id = parse_job_name(row.name), parse_slurm_id(row.slurm_id)
            if name is None or slurm_id is None:
                strange.append(f"Slurm job {row.slurm_id[:40]} of {row.user} has a name like ours that cannot be read.")
                continue
            task = slurm_id[1]
            known = (row.name, row.comment)
            pack = packed[known] if known in packed else read_comment(row.comment, name, self._key)
            self._packed[known] = pack
            place = (*known, task)
            identity = identities.get(place) or (pack.unpack(task, self._key) if pack is not None else None)
            self._identities[place] = identity
            if identity is not None and not self._is_theirs(identity, row):
                identity = None
            sightings.append(Sighting(row, name, task, name.job_id(task), identity, pack.first if pack else task))
        return sightings, strange

    def _is_theirs(self, identity: Identity, row: Row) -> bool:
        if identity.uid != row.uid:
            return False
        return row.uid == self._own_uid if self._own_uid is not None else identity.owner == row.user


def observe(sighting: Sighting, position: int | None, now: datetime) -> Observed:
    """What the row says of the job."""
    row = sighting.row
    seen = Observed(sighting.job_id, sighting.phase, sighting.owner, sighting.identity)
    match sighting.phase:
        case Phase.QUEUED:
            waiting = reasons.explain_waiting(row.reason, row.start, now)
            return replace(seen, reason=waiting, position=position)
        case Phase.RUNNING:
            deadline = row.end if row.state.name == "RUNNING" else None
            return replace(seen, run=make_run(row.raw_id), started_at=row.start, deadline=deadline)
        case Phase.ENDED:
            ended_at = row.end or now
            return replace(
                seen,
                run=make_run(row.raw_id) if row.start else None,
                started_at=row.start,
                ended_at=ended_at,
                reason=row.state.meaning.end,
            )
    return seen


def make_run(raw_id: str) -> RunIdentity:
    """As the job's own process spells it at its claim."""
    return RunIdentity(f"{raw_id}:{RUN_OF_FIRST_START}")


def find_doubles(sightings: Iterable[Sighting]) -> Iterator[str]:
    """In words: keys under which more than one job is alive."""
    alive: dict[str, list[Sighting]] = {}
    for sighting in sightings:
        if sighting.phase in {Phase.QUEUED, Phase.RUNNING}:
            alive.setdefault(sighting.job_id, []).append(sighting)
    for job_id, same in alive.items():
        if len(same) > 1:
            ids = ", ".join(f"{sighting.row.slurm_id} of {sighting.row.user}" for sighting in same)
            yield f"{job_id} is the key of several Slurm jobs: {ids}."
