"""The records of a job's folder as typed values; what is not exactly as expected is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sampan_hub.backends.base import Identity
from sampan_hub.backends.local.shim import files
from sampan_hub.backends.local.shim.files import UnreadableRecord
from sampan_hub.backends.local.shim.procfs import Process
from sampan_hub.jobs.model import Exit, Kind, Reason, Resources, RunIdentity


@dataclass(frozen=True, slots=True)
class StartRecord:
    """`started.json`: the job's main process and its keeper."""

    main: Process
    keeper: Process
    boot_id: str
    cgroup: str | None
    at: datetime

    @property
    def run(self) -> RunIdentity:
        """What the job itself computes and claims with."""
        return RunIdentity(f"{self.main.pid}:{self.main.start_ticks}:{self.boot_id}")


@dataclass(frozen=True, slots=True)
class EndRecord:
    """`ended.json`."""

    at: datetime
    exit: Exit
    reason: Reason | None


def write_identity(identity: Identity) -> dict[str, Any]:
    return {**asdict(identity), "created_at": identity.created_at.isoformat()}


def read_identity(folder: Path) -> Identity:
    """The identity in this folder, not yet checked for its signature."""
    record = _required(folder / files.IDENTITY)
    try:
        resources = {name: _whole(record["resources"], name) for name in ("cores_milli", "memory_bytes", "gpus")}
        identity = Identity(
            **{name: _text(record, name) for name in _TEXTS},
            parent=_text_or_none(record, "parent"),
            cluster=_text_or_none(record, "cluster"),
            kind=Kind(record["kind"]),
            index=_whole(record, "index"),
            uid=_whole(record, "uid"),
            resources=Resources(**resources),
            price_micros_per_hour=(
                None if record["price_micros_per_hour"] is None else _whole(record, "price_micros_per_hour")
            ),
            created_at=datetime.fromisoformat(_text(record, "created_at")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableRecord(f"{folder / files.IDENTITY} is no identity: {error}") from error
    if identity.job_id != folder.name:
        raise UnreadableRecord(f"{folder / files.IDENTITY} is the identity of another job")
    return identity


_TEXTS = ("job_id", "name", "owner", "project", "tenant", "size", "environment", "batch", "signature")


def read_start(folder: Path) -> StartRecord | None:
    record = files.read_record(folder / files.STARTED)
    if record is None:
        return None
    try:
        return StartRecord(
            main=Process(_whole(record, "pid"), _whole(record, "start_ticks")),
            keeper=Process(_whole(record, "keeper_pid"), _whole(record, "keeper_start_ticks")),
            boot_id=_text(record, "boot_id"),
            cgroup=_text_or_none(record, "cgroup"),
            at=_moment(record["at"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UnreadableRecord(f"{folder / files.STARTED} is no record of a start: {error}") from error


def read_end(folder: Path) -> EndRecord | None:
    record = files.read_record(folder / files.ENDED)
    return None if record is None else parse_end(folder, record)


def parse_end(folder: Path, record: Mapping[str, Any]) -> EndRecord:
    try:
        reason = record["reason"]
        return EndRecord(
            at=_moment(record["at"]),
            exit=Exit(**{name: _whole_or_none(record, name) for name in ("code", "signal", "peak_memory_bytes")}),
            reason=None if reason is None else Reason(_text(reason, "code"), _text(reason, "text")),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UnreadableRecord(f"{folder / files.ENDED} is no record of an end: {error}") from error


def _required(path: Path) -> dict[str, Any]:
    record = files.read_record(path)
    if record is None:
        raise UnreadableRecord(f"{path} is missing")
    return record


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is not a text")
    return value


def _text_or_none(record: Mapping[str, Any], name: str) -> str | None:
    return None if record[name] is None else _text(record, name)


def _whole(record: Mapping[str, Any], name: str) -> int:
    value = record[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is not a whole number")
    return value


def _whole_or_none(record: Mapping[str, Any], name: str) -> int | None:
    return None if record[name] is None else _whole(record, name)


def _moment(value: Any) -> datetime:
    return datetime.fromtimestamp(float(value), UTC)
