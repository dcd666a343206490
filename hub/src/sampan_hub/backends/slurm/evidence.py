"""What is known of jobs that the controller shows as ended, or does not show at all. Pure.

Accounting writes in order and a little late. So a record proves what it says, and a missing one proves nothing
by itself; what proves that a task was cancelled while it waited is that its array has no waiting part any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sampan_hub.backends.base import Observed, Phase
from sampan_hub.backends.slurm.accounting import Record, observe_record
from sampan_hub.backends.slurm.journal import Entry
from sampan_hub.backends.slurm.sighting import Sighting, observe
from sampan_hub.jobs.model import Exit, Reason

HOLD = timedelta(seconds=6)
"""How long an end waits for its details: accounting lags, and the first thing said of an end is the last."""
CANCELLED_WAITING = Reason("cancelled", "The job was cancelled in Slurm before it began.")
LOST = Reason("lost-by-slurm", "Slurm lost the job when its controller was restarted. Start it again.")
_NUMBERS_LOST_AT_MOST = 1000
"""Numbers begin anew after the highest: a job far above the next number may well be there."""
_OUT_OF_MEMORY_CODE = 125
_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Absent:
    """A job that should be there and is not listed."""

    job_id: str
    batch: str
    index: int
    entry: Entry | None
    """What is remembered of it."""


def judge_ended(sighting: Sighting, records: Sequence[Record], is_late: bool, now: datetime) -> Observed:
    """What to say of a job that the controller shows as ended: as much as is known, as soon as that is all.

    `is_late`: no further details are waited for.
    """
    seen = observe(sighting, None, now)
    own = [record for record in records if record.raw_id == sighting.row.raw_id and record.end is not None]
    for record in own:
        if record.state.meaning.phase is Phase.ENDED:
            details = observe_record(record, sighting.job_id, sighting.owner)
            return replace(seen, exit=details.exit, reason=details.reason or seen.reason)
    return seen if is_late else replace(seen, phase=Phase.UNKNOWN, ended_at=None, reason=None)


def judge_absent(
    absent: Absent, records: Sequence[Record], numbers: Collection[tuple[str, str]], now: datetime
) -> Observed | None:
    """What to say of a job that the controller does not show; None: nothing is known.

    `records`: all of the names that the job can have. `numbers`: batch and number of every job of ours that is shown.
    """
    base = absent.entry.base if absent.entry is not None else None
    of_job = [record for record in records if record.is_of(absent.batch, absent.index) and base in (None, record.base)]
    own = max((record for record in of_job if record.is_own), key=_liveliness, default=None)
    shared = next(
        (record for record in of_job if not record.is_own and record.state.meaning.phase is Phase.ENDED), None
    )
    record = own or shared
    if record is not None:
        owner = absent.entry.owner if absent.entry is not None else record.user
        seen = observe_record(record, absent.job_id, owner)
        return None if seen.phase is Phase.QUEUED else seen  # what waits is listed, unless it cannot be seen
    if absent.entry is not None and _was_cancelled_waiting(absent, absent.entry, records, numbers):
        return Observed(absent.job_id, Phase.ENDED, absent.entry.owner, reason=CANCELLED_WAITING, ended_at=now)
    return None


def judge_number(absent: Absent, next_number: int, now: datetime) -> Observed | None:
    """The end of a job whose number the controller is yet to give: it came back from a state older than the job."""
    entry = absent.entry
    if entry is None or entry.base is None or not next_number <= entry.base < next_number + _NUMBERS_LOST_AT_MOST:
        return None
    return Observed(absent.job_id, Phase.ENDED, entry.owner, reason=LOST, ended_at=now)


def _liveliness(record: Record) -> tuple[bool, datetime]:
    return (record.state.meaning.phase is not Phase.ENDED, record.start or record.end or _BEFORE_ALL)


def _was_cancelled_waiting(
    absent: Absent, entry: Entry, records: Iterable[Record], numbers: Collection[tuple[str, str]]
) -> bool:
    """Whether the rest of its array proves that this task waits no more, though nothing was noted of it.

    An array's number goes to what of it still waits, and at last to its last task. So whoever shows that number
    knows all that waits; and accounting, which is written in order, knew every other task before.
    """
    if entry.task is None or entry.base is None:
        return False
    number = str(entry.base)
    return (absent.batch, number) in numbers or any(
        record.is_own and record.raw_id == number and record.start is not None for record in records
    )


def read_wait_status(text: str) -> Exit:
    """An exit as squeue prints it: the number that `wait` gave."""
    status = int(text)
    signal = status & 0x7F
    if signal == _OUT_OF_MEMORY_CODE:
        return Exit()
    return Exit(signal=signal) if signal else Exit(code=status >> 8 & 0xFF)
