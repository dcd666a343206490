"""The small files of a job's folder: written whole or not at all, read without trust."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from pathlib import Path
from typing import Any

RECORD_LIMIT_BYTES = 1 << 20
RESERVED_BYTES = 2048

IDENTITY = "identity.json"
SPEC = "spec.json"
STARTED = "started.json"
ENDED = "ended.json"
CANCEL = "cancel"
LOCK = "lock"
PRIVATE = "private"
_RESERVED = "ended.reserved"


class UnreadableRecord(Exception):
    """A record that is there and is not what it should be: which file, and why."""


def open_regular(path: Path, limit_bytes: int | None = None) -> int:
    """A descriptor of a plain file; links, pipes, devices and files over the limit are refused, never followed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and (limit_bytes is None or found.st_size <= limit_bytes):
        return descriptor
    os.close(descriptor)
    raise UnreadableRecord(f"{path} is not a plain file of the expected size")


def read_record(path: Path) -> dict[str, Any] | None:
    """The JSON object in this file; None when there is no such file."""
    try:
        with os.fdopen(open_regular(path, RECORD_LIMIT_BYTES), "rb") as file:
            record = json.loads(file.read(RECORD_LIMIT_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UnreadableRecord(f"{path} cannot be read: {error}") from error
    if not isinstance(record, dict):
        raise UnreadableRecord(f"{path} does not hold a JSON object")
    return record


def write_file(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Make a file that was not there, readable by its owner alone."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        if durable:
            file.flush()
            os.fsync(descriptor)


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Put the record there as one step: a reader finds all of it or nothing."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        write_file(part, json.dumps(record).encode())
        part.rename(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def reserve_end(folder: Path) -> None:
    """Take the room that the record of the end will need, so that a full disk cannot keep it from being told."""
    path = folder / _RESERVED
    path.unlink(missing_ok=True)
    write_file(path, b" " * RESERVED_BYTES)


def write_end(folder: Path, record: dict[str, Any]) -> None:
    """Record the end, in the reserved room where it was taken and is large enough."""
    content = json.dumps(record).encode()
    reserved = folder / _RESERVED
    if len(content) > RESERVED_BYTES or not reserved.exists():
        write_record(folder / ENDED, record)
        return
    descriptor = os.open(reserved, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content.ljust(RESERVED_BYTES))
    reserved.rename(folder / ENDED)


def take_lock(folder: Path) -> int | None:
    """The right to start, end or remove this job, held until the descriptor closes; None when another holds it."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_locked(folder: Path) -> bool:
    """Whether somebody holds the lock now; asking disturbs nobody who waits for it for long."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def has_settled(folder: Path) -> bool:
    """Whether this job was started or has ended: it must never be started (again)."""
    return (folder / STARTED).exists() or (folder / ENDED).exists()
