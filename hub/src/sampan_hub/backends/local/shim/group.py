"""The control group of one job, where the service found a place to make one; without it nothing here acts.

It adds what a process tree cannot: a memory limit, the peak of the whole job, and a kill in one step.
"""

from __future__ import annotations

import contextlib
from pathlib import Path


class Group:
    def __init__(self, path: str | None, memory_bytes: int) -> None:
        self.path = path
        self.peak_memory_bytes: int | None = None
        self._memory_bytes = memory_bytes

    def make(self) -> None:
        """Create it before the job's process exists; the child enters it by itself."""
        if self.path is None:
            return
        group = Path(self.path)
        group.mkdir(exist_ok=True)
        limit = group / "memory.max"
        if limit.exists():
            limit.write_text(str(self._memory_bytes))

    def kill(self) -> None:
        if self.path is not None and (Path(self.path) / "cgroup.kill").exists():
            (Path(self.path) / "cgroup.kill").write_text("1")

    def close(self) -> bool:
        """Read what it counted and remove it; whether the kernel killed anything in it for memory."""
        if self.path is None:
            return False
        group = Path(self.path)
        self.peak_memory_bytes = _read_number(group / "memory.peak")
        killed = _read_events(group / "memory.events").get("oom_kill", 0) > 0
        with contextlib.suppress(OSError):  # somebody else put a process into it, which is not this job's to end
            group.rmdir()
        return killed


def _read_number(path: Path) -> int | None:
    return int(path.read_text()) if path.exists() else None


def _read_events(path: Path) -> dict[str, int]:
    if not path.exists():
        return {}
    return {name: int(count) for name, count in (line.split() for line in path.read_text().splitlines())}
