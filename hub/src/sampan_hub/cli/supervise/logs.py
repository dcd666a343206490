"""The log files of the three processes: private, appended to by the processes themselves, kept to a size."""

from __future__ import annotations

import os
from pathlib import Path

LOG_MAX_BYTES = 20 * 1024 * 1024


def open_log(path: Path) -> int:
    """A descriptor to hand to a process. It appends, so that cutting the file below is safe while it writes."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def cap_log(path: Path, max_bytes: int = LOG_MAX_BYTES) -> bool:
    """Moves the content of a log larger than `max_bytes` to `<name>.1` (its last half-cap) and empties it in place.

    The processes outlive `sampan up` and hold the file open: it is emptied rather than renamed, so that nobody has
    to ask them to reopen it. True when it was cut.
    """
    if not path.exists() or path.stat().st_size <= max_bytes:
        return False
    earlier = path.with_name(path.name + ".1")
    descriptor = os.open(earlier, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with path.open("rb") as source, os.fdopen(descriptor, "wb") as target:
        source.seek(-max_bytes // 2, os.SEEK_END)
        target.write(source.read())
    os.truncate(path, 0)
    return True


def read_tail(path: Path, lines: int, max_bytes: int = 16_384) -> list[str]:
    """The last lines of a log, without blank ones; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - max_bytes))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return [line for line in text.splitlines() if line.strip()][-lines:]
