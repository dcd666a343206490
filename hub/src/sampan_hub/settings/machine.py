"""What this machine offers the process that asks: cores and memory, with container limits counted."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Machine:
    """What may be used here. `prefix`: the Python environment the hub itself runs from."""

    cores_milli: int
    memory_bytes: int
    prefix: Path


def detect_machine(root: Path = Path("/"), prefix: Path | None = None) -> Machine:
    """This machine as this process may use it: CPU affinity, cgroup quota and memory limits (v1 and v2)."""
    affinity_milli = len(os.sched_getaffinity(0)) * 1000
    quotas = [quota for quota in _cpu_quotas_milli(root) if quota > 0]
    limits = [limit for limit in _memory_limits(root) if limit > 0]
    return Machine(
        cores_milli=min([affinity_milli, *quotas]),
        memory_bytes=min([_meminfo_total(root), *limits]),
        prefix=prefix or Path(sys.prefix),
    )


def _meminfo_total(root: Path) -> int:
    for line in (root / "proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    raise ValueError("/proc/meminfo has no MemTotal line")


def _cgroup_folders(root: Path, controller: str) -> Iterator[Path]:
    """The cgroup of this process and all above it; as a container sees them, the root is its own limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controller if controllers else "")
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts), -1, -1):
            yield top.joinpath(*parts[:depth])


def _words(file: Path) -> list[str]:
    """A small kernel file's words; none where it does not exist (most cgroups lack most files)."""
    try:
        return file.read_text().split()
    except OSError:
        return []


def _cpu_quotas_milli(root: Path) -> Iterator[int]:
    for folder in _cgroup_folders(root, "cpu"):
        words = _words(folder / "cpu.max")
        if not words:
            words = _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
        if len(words) == 2 and words[0] not in ("max", "-1") and int(words[1]) > 0:
            yield int(words[0]) * 1000 // int(words[1])


def _memory_limits(root: Path) -> Iterator[int]:
    for folder in _cgroup_folders(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            words = _words(folder / name)
            if words and words[0] != "max":
                yield int(words[0])
