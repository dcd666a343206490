"""Becomes one of the three processes, at most one of each at a time, and leaves the record of it first.

Run as `python -m sampan_hub.cli.supervise.launch RUN_FOLDER NAME ORDERS -- ARGV…` in a session of its own.
The lock it takes is inherited by ARGV and lasts as long as that process, so that two supervisors can never run two
hubs, and a process whose supervisor is killed at any moment is found again by the next.
"""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

from sampan_hub.cli.supervise.records import KeptBy, make_own_record, write_record

ALREADY_RUNNING = 75
"""Exit code: another process holds this name's lock (EX_TEMPFAIL)."""


def record_path(run: Path, name: str) -> Path:
    return run / f"{name}.json"


def launch(run: Path, name: str, orders: str, argv: list[str], kept_by: KeptBy = "up") -> None:
    """Does not return: becomes `argv`, or ends with ALREADY_RUNNING."""
    lock = os.open(run / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(ALREADY_RUNNING)
    os.set_inheritable(lock, True)
    write_record(record_path(run, name), make_own_record(orders, kept_by))
    os.execvp(argv[0], argv)  # noqa: S606 - this is the point: argv as it is, no shell


if __name__ == "__main__":
    _, folder, process_name, its_orders, separator, *command = sys.argv
    if separator != "--" or not command:
        sys.exit("usage: launch RUN_FOLDER NAME ORDERS -- ARGV…")
    launch(Path(folder), process_name, its_orders, command)
