"""Which process is ours: a record that a reused pid or a reboot cannot forge. Linux only; stdlib only."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

KeptBy = Literal["up", "run"]


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """One process of this machine, told apart from every later one with the same pid."""

    pid: int
    start_ticks: int
    """Clock ticks from boot to the process's start (`/proc/PID/stat`, field 22)."""
    boot_id: str
    orders: str
    """A hash of what it was told to do; with another one it must be replaced, not taken over."""
    kept_by: KeptBy = "up"
    """Who starts it again when it ends: `sampan up`, or whoever called `sampan run` (systemd)."""


def hash_orders(*parts: str) -> str:
    """A short name for a command line and the settings it works by."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def read_boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def read_start_ticks(pid: int) -> int | None:
    """When the process started; None when there is no such process or it has ended and waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def make_own_record(orders: str, kept_by: KeptBy = "up") -> ProcessRecord:
    """The record of the calling process (an exec changes neither its pid nor its start)."""
    start = read_start_ticks(os.getpid())
    if start is None:  # pragma: no cover - a running process is always in /proc
        raise RuntimeError("/proc does not show this process: is it mounted?")
    return ProcessRecord(os.getpid(), start, read_boot_id(), orders, kept_by)


def is_alive(record: ProcessRecord) -> bool:
    """Whether exactly that process still runs."""
    return record.boot_id == read_boot_id() and read_start_ticks(record.pid) == record.start_ticks


def write_record(path: Path, record: ProcessRecord) -> None:
    """The record appears whole or not at all, readable by its owner alone."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(record), file)
    draft.replace(path)


def read_record(path: Path) -> ProcessRecord | None:
    """What was written; None when there is none, or when what is there is no record (a full disk, an older format)."""
    try:
        return ProcessRecord(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def read_alive(path: Path) -> ProcessRecord | None:
    """The recorded process, if it runs."""
    record = read_record(path)
    return record if record is not None and is_alive(record) else None
