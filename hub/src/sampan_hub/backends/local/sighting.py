"""What is true of one job, from its records and `/proc`. Looking also writes down an end that nobody recorded."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

from sampan_hub.backends.base import Identity, Observed, Phase
from sampan_hub.backends.local import records
from sampan_hub.backends.local.containment import group_name
from sampan_hub.backends.local.records import EndRecord, StartRecord
from sampan_hub.backends.local.shim import files, procfs
from sampan_hub.backends.local.shim.ending import REBOOTED, UNSEEN, Ending
from sampan_hub.backends.local.tree import is_kept, job_processes
from sampan_hub.jobs.model import Reason

STALE_S = 600.0
"""Older than this, a folder under construction or never started is what a killed service left."""
UNWATCHED = Reason("keeper-lost", "It runs, but its keeper process is gone: its output and exit code will be missing.")


def look_at(folder: Path) -> tuple[Observed | None, str | None]:
    """One job, and a remark about it for administrators. No job: nothing of it was ever started."""
    identity = records.read_identity(folder)
    start, end = records.read_start(folder), records.read_end(folder)
    if end is not None:
        return _ended(identity, start, end), None
    if start is None:
        return _look_before_start(folder, identity)
    if is_kept(start):
        return _running(identity, start, None), None
    processes = job_processes(folder.name, start)
    end = records.read_end(folder)  # again: the keeper may have recorded it and gone in between
    if end is None and processes:
        pids = ", ".join(str(process.pid) for process in processes)
        return _running(identity, start, UNWATCHED), f"{folder.name}: runs without its keeper (processes {pids})"
    return _ended(identity, start, end or _seal(folder, start)), None


def _look_before_start(folder: Path, identity: Identity) -> tuple[Observed | None, str | None]:
    if files.is_locked(folder):
        return Observed(identity.job_id, Phase.QUEUED, identity.owner, identity), None
    if files.has_settled(folder):  # while we looked
        return look_at(folder)
    age_s = time.time() - folder.stat().st_mtime
    return None, f"{folder}: was never started; it may be removed" if age_s > STALE_S else None


def _running(identity: Identity, start: StartRecord, reason: Reason | None) -> Observed:
    return Observed(
        identity.job_id,
        Phase.RUNNING,
        identity.owner,
        identity,
        run=start.run,
        reason=reason,
        started_at=start.at,
    )


def _ended(identity: Identity, start: StartRecord | None, end: EndRecord) -> Observed:
    return Observed(
        identity.job_id,
        Phase.ENDED,
        identity.owner,
        identity,
        run=start.run if start else None,
        reason=end.reason,
        started_at=start.at if start else None,
        ended_at=end.at,
        exit=end.exit,
    )


def _seal(folder: Path, start: StartRecord) -> EndRecord:
    """Do what the lost keeper would have: clear up, and write the end down so that every later look sees the same."""
    rebooted = start.boot_id != procfs.boot_id()
    ending = REBOOTED if rebooted else UNSEEN
    at = _boot_time() if rebooted else time.time()
    shutil.rmtree(folder / files.PRIVATE, ignore_errors=True)
    if start.cgroup and Path(start.cgroup).name == group_name(folder.name):
        with contextlib.suppress(OSError):  # gone with the boot, or not empty
            Path(start.cgroup).rmdir()
    return record_end_if_free(folder, ending, at) or records.parse_end(folder, ending.as_record(at))


def record_end_if_free(folder: Path, ending: Ending, at: float) -> EndRecord | None:
    """Record this end unless a keeper holds the job; whichever end is on record then. None: none could be."""
    lock = files.take_lock(folder)
    if lock is None:
        return None
    try:
        if not (folder / files.ENDED).exists():
            files.write_end(folder, ending.as_record(at))
        return records.read_end(folder)
    except OSError:
        return None  # a full or read-only disk: the next look tries again
    finally:
        os.close(lock)


def _boot_time() -> float:
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
