"""What the backend knows of its jobs between calls: the last listing, the journal, and what was asked of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sampan_hub.backends.base import Phase
from sampan_hub.backends.slurm.journal import Entry, Journal
from sampan_hub.backends.slurm.listing import Row
from sampan_hub.backends.slurm.names import make_stage, name_of_stage, parse_slurm_id
from sampan_hub.backends.slurm.sighting import Reader, Sighting, find_doubles


class Known:
    """Kept up to date by `read`. Nothing in it decides whether a job lives: only listings and accounting do."""

    def __init__(self, reader: Reader, journal: Journal) -> None:
        self.journal = journal
        self.cancelled: set[str] = set()
        """Whose end was asked for here, while they are listed."""
        self.unlisted_states = 0
        """How often a state was seen that the table of states does not have."""
        self.changes = 0
        """Counts up whenever other jobs are listed than before, or in other phases."""
        self._reader = reader
        self._sightings: Mapping[str, Sequence[Sighting]] = {}
        self._phases: Mapping[str, list[Phase]] = {}
        self._forgotten: set[str] = set()

    def of(self, job_id: str) -> Sequence[Sighting]:
        """The rows of the last listing that carry this key."""
        return self._sightings.get(job_id, ())

    def is_known(self, job_id: str) -> bool:
        """Whether it can be told without another look which Slurm jobs, if any, this key stands for."""
        entry = self.journal.find(job_id)
        has_number = entry is not None and entry.base is not None
        return has_number or job_id in self._sightings or self.journal.has_ended(job_id)

    def targets(self, job_id: str) -> list[tuple[str, str]]:
        """User and id of every Slurm job that is this job beyond doubt: signed, or the very one put into the queue."""
        entry = self.journal.find(job_id)
        found = [
            (sighting.row.user, sighting.row.slurm_id)
            for sighting in self.of(job_id)
            if sighting.phase is not Phase.ENDED and (sighting.identity is not None or self._is_the_one(sighting))
        ]
        if entry is not None and entry.slurm_id is not None and not self.journal.has_ended(job_id):
            found.append((entry.user, entry.slurm_id))
        return found

    def read(self, rows: Iterable[Row]) -> tuple[list[Sighting], list[str]]:
        """Our jobs in a new listing; and in words what an administrator should look at."""
        shown = list(rows)
        named = [self._with_own_name(row) for row in shown]
        sightings, troubles = self._reader.read(named)
        troubles += [
            f"Slurm job {row.slurm_id} of {row.user} was renamed to {row.name[:40]!r}; it is known by its number."
            for row, own in zip(shown, named, strict=True)
            if row is not own
        ]
        by_job: dict[str, list[Sighting]] = defaultdict(list)
        for sighting in sightings:
            by_job[sighting.job_id].append(sighting)
        phases = {job_id: [sighting.phase for sighting in same] for job_id, same in by_job.items()}
        self.changes += phases != self._phases
        self._sightings, self._phases = by_job, phases
        self.cancelled &= by_job.keys()
        self._forgotten &= by_job.keys()
        signed = [seen for seen in sightings if seen.identity is not None and seen.job_id not in self._forgotten]
        self.journal.remember(_entry(sighting) for sighting in signed)
        unlisted = sorted({seen.row.state.name for seen in sightings if not seen.row.state.is_listed})
        self.unlisted_states += len(unlisted)
        troubles += find_doubles(sightings)
        troubles += [f"Slurm shows jobs in the state {state[:40]}, which Sampan does not know." for state in unlisted]
        return sightings, troubles

    def _with_own_name(self, row: Row) -> Row:
        """Who renames a job of theirs does not hide it: number, user and folder tell which it is."""
        entry = self.journal.find_number(row.slurm_id)
        if entry is None or entry.user != row.user or row.folder.rpartition("/")[2] != entry.stage:
            return row
        name = name_of_stage(entry.stage)
        return row if row.name == name else replace(row, name=name)

    def new_ends(self, sightings: Iterable[Sighting]) -> list[Sighting]:
        """Those shown as ended whose end is neither noted nor forgotten. What only has our name has no end of ours."""
        return [
            sighting
            for sighting in sightings
            if sighting.phase is Phase.ENDED
            and sighting.job_id not in self._forgotten
            and self.journal.end_of(sighting.job_id, sighting.row.raw_id) is None
            and (sighting.identity is not None or self._is_the_one(sighting))
        ]

    def _is_the_one(self, sighting: Sighting) -> bool:
        """Whether it is the very job that was put into the queue, though its comment was changed since."""
        entry = self.journal.find(sighting.job_id)
        return entry is not None and entry.slurm_id == sighting.row.slurm_id and entry.user == sighting.row.user

    def forget(self, job_ids: Iterable[str]) -> None:
        """Let go of these, also while Slurm still shows them."""
        gone = list(job_ids)
        self.journal.drop(gone)
        self._forgotten.update(gone)


def _entry(sighting: Sighting) -> Entry:
    slurm_id = parse_slurm_id(sighting.row.slurm_id)
    return Entry(
        sighting.job_id,
        sighting.row.user,
        sighting.owner,
        make_stage(sighting.name, sighting.first or 0),
        sighting.task,
        slurm_id[0] if slurm_id else None,
    )
