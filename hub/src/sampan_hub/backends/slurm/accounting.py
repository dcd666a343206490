"""Ends as accounting recorded them: `sacct` read strictly, each end in one sentence. Pure but for the names of uids."""

from __future__ import annotations

import pwd
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sampan_hub.backends.base import BackendError, Observed, Phase
from sampan_hub.backends.slurm.listing import parse_time
from sampan_hub.backends.slurm.names import JobName, parse_job_name, parse_slurm_id, parse_tasks
from sampan_hub.backends.slurm.sighting import make_run
from sampan_hub.backends.slurm.states import (
    CANCELLED,
    FAILED,
    NODE_FAILED,
    OUT_OF_MEMORY,
    WALLTIME,
    JobState,
    read_state,
)
from sampan_hub.jobs.model import Exit, Reason

_FIELDS = (
    "JobID",
    "JobIDRaw",
    "JobName",
    "User",
    "UID",
    "State",
    "ExitCode",
    "Start",
    "End",
    "MaxRSS",
    "ReqMem",
    "TimelimitRaw",
    "NodeList",
)
_SLACK = timedelta(minutes=5)
"""Clocks of machines differ; a record may look older than what asked for it."""
_EXIT = re.compile(r"(\d+):(\d+)")
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)([KMGTP]?)[cn]?")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}
_NO_SIGNAL = frozenset({0, 125})
"""125 is how Slurm writes down that memory ran out."""


@dataclass(frozen=True, slots=True)
class Record:
    """One run of one job, its steps taken in."""

    name: JobName
    base: int
    """The number of its array, or its own."""
    tasks: tuple[int | None, ...]
    """Its array task; several where they have no record of their own; (None,): no array."""
    raw_id: str
    user: str
    state: JobState
    code: int
    signal: int
    start: datetime | None
    end: datetime | None
    uid: int | None = None
    peak_memory_bytes: int | None = None
    memory_bytes: int | None = None
    walltime_minutes: int | None = None
    nodes: str = ""

    @property
    def is_own(self) -> bool:
        """Whether it is of one job, and not of all tasks that had none of their own when it was written."""
        return len(self.tasks) == 1

    def is_of(self, batch: str, index: int) -> bool:
        """Whether it speaks of this job."""
        place = index - self.name.offset
        return self.name.batch == batch and (place in self.tasks or (place == 0 and None in self.tasks))


def make_arguments(names: Iterable[JobName], since: datetime) -> tuple[str, ...]:
    """One question for all of these names."""
    return (
        "--noheader",
        "--allusers",
        "--duplicates",
        "--noconvert",
        "--parsable2",
        f"--name={','.join(sorted({str(name) for name in names}))}",
        f"--starttime={since - _SLACK:%Y-%m-%dT%H:%M:%S}",
        f"--format={','.join(_FIELDS)}",
    )


def parse_records(text: str, backend: str) -> list[Record]:
    """Every job's record; BackendError for a line that is not one."""
    if text and not text.endswith("\n"):
        raise BackendError(f"{backend}: sacct's answer is not whole; nothing is concluded from it")
    records: list[Record] = []
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) != len(_FIELDS):
            raise BackendError(f"{backend}: sacct's answer is garbled; nothing is concluded from it")
        try:
            _take(fields, records)
        except ValueError as error:
            raise BackendError(f"{backend}: sacct's answer is not understood ({error})") from error
    return records


def _take(fields: list[str], records: list[Record]) -> None:
    """A job begins a record; its steps, which follow it, tell the memory."""
    job_id, raw_id, job_name, user, uid, state, exit_, start, end, peak, asked, minutes, nodes = fields
    base, _, step = job_id.partition(".")
    if step:
        if records and raw_id.partition(".")[0] == records[-1].raw_id and peak:
            highest = max(_bytes(peak), records[-1].peak_memory_bytes or 0)
            records[-1] = replace(records[-1], peak_memory_bytes=highest)
        return
    name, of, ended = parse_job_name(job_name), _read_id(base), _EXIT.fullmatch(exit_)
    if name is None or of is None:
        raise ValueError(f"{base[:40]!r} is no job of ours")
    if ended is None or not raw_id.isdecimal():
        raise ValueError(f"{exit_[:40]!r} is no exit code")
    records.append(
        Record(
            name=name,
            base=of[0],
            tasks=of[1],
            raw_id=raw_id,
            user=user,
            uid=int(uid) if uid.isdecimal() else None,
            state=read_state(state),
            code=int(ended[1]),
            signal=int(ended[2]),
            start=parse_time(start),
            end=parse_time(end),
            memory_bytes=_bytes(asked) if asked else None,
            walltime_minutes=int(minutes) if minutes.isdecimal() else None,
            nodes=nodes,
        )
    )


def _read_id(text: str) -> tuple[int, tuple[int | None, ...]] | None:
    one = parse_slurm_id(text)
    return (one[0], (one[1],)) if one is not None else parse_tasks(text)


def _bytes(text: str) -> int:
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is no amount of memory")
    return int(float(match[1]) * _UNITS[match[2]])


def make_exit(record: Record) -> Exit:
    """Code and signal as the job's own program had them."""
    signal = None if record.signal in _NO_SIGNAL else record.signal
    is_known = signal is None and record.signal == 0 and record.start is not None
    return Exit(record.code if is_known else None, signal, record.peak_memory_bytes)


def observe_record(record: Record, job_id: str, owner: str) -> Observed:
    """What the record says of this job of `owner`."""
    phase = record.state.meaning.phase
    seen = Observed(
        job_id,
        phase,
        owner,
        run=make_run(record.raw_id) if record.start else None,
        started_at=record.start,
    )
    if phase is not Phase.ENDED or record.end is None:
        return replace(seen, phase=Phase.UNKNOWN if phase is Phase.ENDED else phase)
    return replace(seen, ended_at=record.end, exit=make_exit(record), reason=explain_end(record))


def explain_end(record: Record) -> Reason | None:
    """Why the job ended, with the figures that accounting has."""
    reason = record.state.meaning.end
    if reason is CANCELLED and record.state.cancelled_by is not None:
        return Reason(reason.code, f"The job was cancelled in Slurm by {_person(record.state.cancelled_by, record)}.")
    if reason is OUT_OF_MEMORY and record.memory_bytes:
        text = f"The job needed more than its {_mebibytes(record.memory_bytes)} of memory. Choose a bigger size."
        return Reason(reason.code, text)
    if reason is WALLTIME and record.walltime_minutes:
        return Reason(
            reason.code, f"Its time was up: it ran for its whole walltime of {_time(record.walltime_minutes)}."
        )
    if reason is NODE_FAILED and record.nodes and record.nodes != "None assigned":
        return Reason(reason.code, f"The machine it ran on, {record.nodes}, failed. Start it again.")
    if reason is FAILED and record.signal not in _NO_SIGNAL:
        return Reason("killed", f"The job was ended by signal {record.signal}.")
    if reason is FAILED:
        return Reason(reason.code, f"The job ended with exit code {record.code}.")
    return reason


def _person(uid: int, record: Record) -> str:
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = f"the user with the id {uid}"
    return f"{name}, whose job it was" if uid == record.uid else name


def _mebibytes(amount_bytes: int) -> str:
    gibibytes = amount_bytes / (1 << 30)
    return f"{gibibytes:.1f} GiB" if gibibytes >= 10 else f"{amount_bytes >> 20} MiB"


def _time(minutes: int) -> str:
    parts = [(minutes // 60, "hour"), (minutes % 60, "minute")]
    return " ".join(f"{amount} {unit}{'' if amount == 1 else 's'}" for amount, unit in parts if amount)
