"""One look at every job folder: what is on record, and whether it still runs."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from sampan_hub.backends.base import BackendError, Observed, Phase
from sampan_hub.backends.local import folders
from sampan_hub.backends.local.shim import files, procfs
from sampan_hub.backends.local.shim.files import UnreadableRecord
from sampan_hub.backends.local.sighting import STALE_S, look_at
from sampan_hub.jobs.keys import JOB_ID, instance_of
from sampan_hub.jobs.model import Reason


@dataclass(frozen=True, slots=True)
class Look:
    """Everything one look found."""

    jobs: tuple[Observed, ...]
    leftovers: tuple[str, ...]


class Lister:
    """Looks at a root folder; remembers jobs that ended, so that only living ones cost a read."""

    def __init__(self, root: Path, instance: str) -> None:
        self._root = root
        self._instance = instance
        self._ended: dict[str, tuple[tuple[int, int], Observed]] = {}
        self._turn = threading.Lock()

    def look(self) -> Look:
        """Raises BackendError when the root or `/proc` cannot be read; one bad folder is one unknown job."""
        with self._turn:
            try:
                entries = sorted(os.scandir(self._root), key=lambda entry: entry.name)
                procfs.boot_id()
            except OSError as error:
                raise BackendError(
                    f"local: job folders in {self._root} cannot be read, nothing is known of them: {error.strerror}"
                ) from error
            jobs: list[Observed] = []
            leftovers: list[str] = []
            for entry in entries:
                foreign = self._foreign(entry)
                if foreign is not None:
                    leftovers.extend([foreign] if foreign else [])
                    continue
                observed, remark = self._look_at(Path(entry.path))
                jobs.extend([observed] if observed else [])
                leftovers.extend([remark] if remark else [])
            self._ended = {job.job_id: self._ended[job.job_id] for job in jobs if job.job_id in self._ended}
            return Look(tuple(jobs), tuple(leftovers))

    def _foreign(self, entry: os.DirEntry[str]) -> str | None:
        """None: a folder of ours. Else the remark it is worth, '' for none."""
        if entry.name.startswith((folders.NEW, folders.OLD)):
            return f"{entry.path}: left by an interrupted call; it may be removed" if _is_stale(entry) else ""
        if not JOB_ID.fullmatch(entry.name) or not entry.is_dir(follow_symlinks=False):
            return f"{entry.path}: not a job's folder; it is ignored"
        if instance_of(entry.name) != self._instance:
            return f"{entry.path}: a job of another installation; it is ignored"
        return None

    def _look_at(self, folder: Path) -> tuple[Observed | None, str | None]:
        try:
            stamp = _stamp(folder)
            known = self._ended.get(folder.name)
            if known is not None and known[0] == stamp:
                return known[1], None
            observed, remark = look_at(folder)
        except (OSError, UnreadableRecord) as error:
            unknown = Observed(folder.name, Phase.UNKNOWN, "", reason=Reason("unreadable-record", str(error)))
            return unknown, f"{folder}: its records cannot be read, so nothing is concluded from them: {error}"
        if observed is not None and observed.phase is Phase.ENDED and (stamp := _stamp(folder)) is not None:
            self._ended[folder.name] = (stamp, observed)
        return observed, remark


def _stamp(folder: Path) -> tuple[int, int] | None:
    try:
        found = (folder / files.ENDED).lstat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino


def _is_stale(entry: os.DirEntry[str]) -> bool:
    try:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > STALE_S
    except FileNotFoundError:
        return False
