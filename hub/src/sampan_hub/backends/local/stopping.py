"""Ask for the end of one job so that it comes about even if nobody asks again."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from sampan_hub.backends.local import records
from sampan_hub.backends.local.records import StartRecord
from sampan_hub.backends.local.shim import files, procfs
from sampan_hub.backends.local.shim.ending import NEVER_STARTED
from sampan_hub.backends.local.sighting import record_end_if_free
from sampan_hub.backends.local.tree import is_kept, job_processes


def request_stop(folder: Path, grace_s: float) -> None:
    """Leave the request where the keeper finds it, then wake the keeper; it ends the tree by itself.

    The request is written before the start is read, and the keeper records the start before it reads the
    request: whoever comes second sees the other.
    """
    asked_at = _leave_request(folder)
    if (folder / files.ENDED).exists():
        return
    start = records.read_start(folder)
    if start is None:
        record_end_if_free(folder, NEVER_STARTED, time.time())
        start = records.read_start(folder)
    if start is None:
        return
    if is_kept(start):
        procfs.send_signal(start.keeper, signal.SIGTERM)
        procfs.send_signal(start.keeper, signal.SIGCONT)
    else:
        _end_unkept(folder.name, start, is_late=time.time() - asked_at > grace_s)


def _leave_request(folder: Path) -> float:
    """When a stop was first asked for."""
    path = folder / files.CANCEL
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    os.close(os.open(path, flags, 0o600))
    return path.lstat().st_mtime


def _end_unkept(job_id: str, start: StartRecord, *, is_late: bool) -> None:
    """The keeper is gone: do its work, gently at the first request, for good at a repeated one after the grace."""
    numbers = (signal.SIGKILL,) if is_late else (signal.SIGTERM, signal.SIGCONT)
    for process in job_processes(job_id, start):
        for number in numbers:
            procfs.send_signal(process, number)
