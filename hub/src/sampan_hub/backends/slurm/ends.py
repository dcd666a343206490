"""Finding out how jobs ended: accounting asked in one call for all, ever more seldom for the same job."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sampan_hub.backends.base import BackendError, Expected, Observed, Phase
from sampan_hub.backends.slurm import accounting
from sampan_hub.backends.slurm.accounting import Record
from sampan_hub.backends.slurm.commands import Commands
from sampan_hub.backends.slurm.configuration import read_next_number
from sampan_hub.backends.slurm.evidence import (
    HOLD,
    Absent,
    judge_absent,
    judge_ended,
    judge_number,
    read_wait_status,
)
from sampan_hub.backends.slurm.journal import Journal
from sampan_hub.backends.slurm.names import JobName, make_candidates
from sampan_hub.backends.slurm.sighting import Sighting
from sampan_hub.jobs.model import Exit

log = logging.getLogger(__name__)

_AGAIN_AT_MOST = timedelta(seconds=60)
_NAMES_AT_ONCE = 2000
_DAY = timedelta(days=1)


@dataclass(slots=True)
class _Asked:
    first_at: datetime
    count: int = 0
    next_at: datetime | None = None
    answer: Observed | None = None


@dataclass(slots=True)
class Found:
    """What is to be said of the jobs that were looked up. `ended`: by the run's own Slurm number."""

    ended: list[tuple[str, Observed]] = field(default_factory=list)
    others: list[Observed] = field(default_factory=list)
    trouble: str | None = None
    """Why accounting could not be asked."""
    is_waiting: bool = False
    """Whether something ended whose details are still waited for."""


class Ends:
    """Looks up what the listing does not tell. Remembers only when it asked."""

    def __init__(self, backend: str, commands: Commands, journal: Journal, instance: str) -> None:
        self._backend = backend
        self._commands = commands
        self._journal = journal
        self._instance = instance
        self._asked: dict[str, _Asked] = {}

    async def find_by_accounting(
        self,
        over: Sequence[Sighting],
        absent: Sequence[Expected],
        numbers: Collection[tuple[str, str]],
        now: datetime,
        block: int,
        hurry: Iterable[str] = (),
    ) -> Found:
        """`over`: shown as ended, not yet noted. `absent`: expected, not shown. `hurry`: ends that need no details.

        `numbers`: batch and number of every job of ours that is shown.
        """
        keys = {*(_key(sighting) for sighting in over), *(expected.job_id for expected in absent)}
        self._asked = {key: self._asked.get(key) or _Asked(now) for key in keys}
        due_over = [sighting for sighting in over if self._is_due(_key(sighting), now)]
        due_absent = [expected for expected in absent if self._is_due(expected.job_id, now)]
        found = Found()
        records: list[Record] = []
        if due_over or due_absent:
            try:
                records = await self._ask(due_over, due_absent, now, block)
            except BackendError as error:
                log.warning("%s", error)
                found.trouble = str(error)
        await self._judge_over(found, over, records, now, frozenset(hurry))
        if found.trouble is None:
            self._note_answers(due_absent, records, numbers, now)
        await self._note_lost(due_absent, now)
        for expected in absent:
            answer = self._asked[expected.job_id].answer
            if answer is not None:
                _sort(found, answer.run.token.partition(":")[0] if answer.run else "", answer)
        return found

    async def _judge_over(
        self, found: Found, over: Sequence[Sighting], records: Iterable[Record], now: datetime, hurried: frozenset[str]
    ) -> None:
        by_number: dict[str, list[Record]] = {}
        for record in records:
            by_number.setdefault(record.raw_id, []).append(record)
        statuses: Mapping[str, Exit] | None = None
        for sighting in over:
            raw_id = sighting.row.raw_id
            is_late = sighting.job_id in hurried or now - self._asked[_key(sighting)].first_at >= HOLD
            seen = judge_ended(sighting, by_number.get(raw_id, ()), is_late, now)
            found.is_waiting = found.is_waiting or seen.phase is Phase.UNKNOWN
            if seen.phase is Phase.ENDED and seen.exit is None and sighting.row.node and sighting.job_id not in hurried:
                statuses = await self._statuses_if_told() if statuses is None else statuses
                seen = replace(seen, exit=statuses.get(raw_id))
            _sort(found, raw_id, seen)

    async def _statuses_if_told(self) -> Mapping[str, Exit]:
        """The controller's own exit codes, of jobs that accounting still keeps silent about."""
        try:
            return await self._statuses()
        except BackendError as error:
            log.warning("%s", error)
            return {}

    def _note_answers(
        self, absent: Iterable[Expected], records: Iterable[Record], numbers: Collection[tuple[str, str]], now: datetime
    ) -> None:
        by_batch: dict[str, list[Record]] = {}
        for record in records:
            by_batch.setdefault(record.name.batch, []).append(record)
        for expected in absent:
            answer = judge_absent(self._place(expected), by_batch.get(expected.batch, ()), numbers, now)
            self._asked[expected.job_id].answer = answer

    async def _note_lost(self, absent: Iterable[Expected], now: datetime) -> None:
        """Jobs that the controller itself lost are in no listing, and in accounting for ever as they were."""
        open_ = [place for place in map(self._place, absent) if self._is_open(place)]
        if not open_:
            return
        try:
            next_number = await read_next_number(self._commands)
        except BackendError as error:
            log.info("%s", error)
            return
        for place in open_:
            lost = judge_number(place, next_number, now) if next_number is not None else None
            if lost is not None:
                self._asked[place.job_id].answer = lost

    def _is_open(self, place: Absent) -> bool:
        answer = self._asked[place.job_id].answer
        return (
            place.entry is not None
            and place.entry.base is not None
            and (answer is None or answer.phase is not Phase.ENDED)
        )

    def _place(self, expected: Expected) -> Absent:
        return Absent(expected.job_id, expected.batch, expected.index, self._journal.find(expected.job_id))

    def _is_due(self, key: str, now: datetime) -> bool:
        asked = self._asked[key]
        if asked.next_at is not None and now < asked.next_at:
            return False
        asked.count += 1
        asked.next_at = now + min(_AGAIN_AT_MOST, timedelta(seconds=2 ** min(asked.count - 1, 6)))
        return True

    async def _ask(
        self, over: Sequence[Sighting], absent: Sequence[Expected], now: datetime, block: int
    ) -> list[Record]:
        names: dict[JobName, None] = dict.fromkeys(sighting.name for sighting in over)
        for expected in absent:
            names.update(dict.fromkeys(make_candidates(self._instance, expected.batch, expected.index, block)))
        since = min([now - _DAY, *(expected.since for expected in absent), *_starts(over)])
        records: list[Record] = []
        listed = list(names)
        for at in range(0, len(listed), _NAMES_AT_ONCE):
            arguments = accounting.make_arguments(listed[at : at + _NAMES_AT_ONCE], since)
            records += accounting.parse_records(await self._commands.run("sacct", *arguments), self._backend)
        return records

    async def find_by_status(self, over: Sequence[Sighting], now: datetime) -> Found:
        """Where nothing is accounted: the controller's own exit codes, while it still has them."""
        statuses = await self._statuses() if over else {}
        found = Found()
        for sighting in over:
            seen = judge_ended(sighting, (), True, now)
            exit_ = statuses.get(sighting.row.raw_id)
            found.ended.append((sighting.row.raw_id, replace(seen, exit=exit_ if sighting.row.node else None)))
        return found

    async def _statuses(self) -> Mapping[str, Exit]:
        text = await self._commands.run(
            "squeue", "--noheader", "--all", "--states=all", "--Format=JobID:.24,exit_code:.24"
        )
        try:
            pairs = [line.split() for line in text.splitlines()]
            return {raw_id: read_wait_status(status) for raw_id, status in pairs}
        except ValueError as error:
            raise BackendError(f"{self._backend}: squeue's exit codes are not understood") from error


def _sort(found: Found, raw_id: str, seen: Observed) -> None:
    if seen.phase is Phase.ENDED:
        found.ended.append((raw_id, seen))
    else:
        found.others.append(seen)


def _key(sighting: Sighting) -> str:
    return f"{sighting.job_id} {sighting.row.raw_id}"


def _starts(over: Iterable[Sighting]) -> Iterable[datetime]:
    return (sighting.row.start for sighting in over if sighting.row.start is not None)
