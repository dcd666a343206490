"""Reading the one listing: `squeue` of everything, strictly. Pure.

Names and comments are whatever other users wrote, line ends included. So fields are not separated by a character but
by a word drawn for each call: what comes back is exactly what was asked, or it is no answer.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sampan_hub.backends.base import BackendError
from sampan_hub.backends.slurm.states import JobState, read_state

_FIELDS = ("%i", "%A", "%T", "%u", "%U", "%P", "%Q", "%S", "%e", "%N", "%r", "%j", "%Z", "%k")
ARGUMENTS = ("--noheader", "--all", "--array", "--states=all")
_WHEN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_NEVER = frozenset({"N/A", "NONE", "None", "Unknown", "UNLIMITED", "INVALID", ""})


@dataclass(frozen=True, slots=True)
class Row:
    """One job or array task of the whole cluster, as the controller shows it."""

    slurm_id: str
    """`123` or `123_4`."""
    raw_id: str
    """The number that this very task has of its own once it runs."""
    state: JobState
    user: str
    uid: int
    partition: str
    priority: int
    start: datetime | None
    """When it began, or is expected to."""
    end: datetime | None
    """When it ended, or will at the latest."""
    node: str
    reason: str
    name: str
    folder: str
    comment: str


def make_variables(word: str) -> dict[str, str]:
    """The environment that makes squeue print what `parse_listing` reads: not in argv, where others could see it."""
    return {"SQUEUE_FORMAT": word + word.join(_FIELDS) + word, "SLURM_BITSTR_LEN": "0"}


def parse_listing(text: str, word: str, backend: str) -> list[Row]:
    """Every job; BackendError unless the text is whole and every field has its form."""
    parts = text.split(word)
    step = len(_FIELDS) + 1
    if (len(parts) - 1) % step:
        raise BackendError(f"{backend}: squeue's answer is not whole; nothing is concluded from it")
    if any(part != ("\n" if place else "") for place, part in enumerate(parts[:-1:step])) or (
        parts[-1] != ("\n" if len(parts) > 1 else "")
    ):
        raise BackendError(f"{backend}: squeue's answer is garbled; nothing is concluded from it")
    try:
        return [_parse_row(parts[at + 1 : at + step]) for at in range(0, len(parts) - 1, step)]
    except ValueError as error:
        raise BackendError(f"{backend}: squeue's answer is not understood ({error}); nothing is concluded") from error


def _parse_row(fields: list[str]) -> Row:
    slurm_id, raw_id, state, user, uid, partition, priority, start, end, node, reason, name, folder, comment = fields
    if not raw_id.isdecimal() or not slurm_id[:1].isdecimal():
        raise ValueError(f"{raw_id[:40]!r} is no job id")
    return Row(
        slurm_id=slurm_id,
        raw_id=raw_id,
        state=read_state(state),
        user=user,
        uid=int(uid),
        partition=partition,
        priority=int(priority),
        start=parse_time(start),
        end=parse_time(end),
        node=node,
        reason=reason,
        name=name,
        folder=folder,
        comment="" if comment == "(null)" else comment,
    )


def parse_time(text: str) -> datetime | None:
    """A time in UTC, as `SLURM_TIME_FORMAT=standard` with `TZ=UTC` prints it; None for Slurm's words for none."""
    if text in _NEVER:
        return None
    if not _WHEN.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no time")
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def make_positions(rows: Iterable[Row]) -> Mapping[str, int]:
    """The place of every waiting job in its partition, from 1, by Slurm's own priority."""
    waiting: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.state.name == "PENDING":
            waiting[row.partition].append(row)
    return {
        row.slurm_id: place
        for queue in waiting.values()
        for place, row in enumerate(sorted(queue, key=_precedence), start=1)
    }


def _precedence(row: Row) -> tuple[int, int, int]:
    task = row.slurm_id.partition("_")[2]
    return (-row.priority, int(row.raw_id), int(task) if task.isdecimal() else 0)
