"""Which processes are a job's own."""

from __future__ import annotations

from pathlib import Path

from sampan_hub.backends.local.records import StartRecord
from sampan_hub.backends.local.shim import keeper, procfs
from sampan_hub.backends.local.shim.procfs import Process, Stat

MARK = "SAMPAN_JOB"
"""In the environment of everything a job starts: finds its processes when their keeper is gone."""


def is_kept(start: StartRecord) -> bool:
    """Whether the job's keeper runs; while it does, no process of the job can leave the tree below it."""
    return start.boot_id == procfs.boot_id() and procfs.is_alive(start.keeper)


def job_processes(job_id: str, start: StartRecord) -> list[Process]:
    """Everything of this job that runs now, its keeper not included."""
    if start.boot_id != procfs.boot_id():
        return []
    if procfs.is_alive(start.keeper):
        return procfs.descendants(start.keeper.pid)
    stats = procfs.all_stats()
    roots = {pid for pid, stat in stats.items() if stat.process == start.main and stat.is_alive}
    roots |= {pid for pid in stats if _is_marked(pid, job_id) and not _has_keeper(pid, stats)}
    roots |= _group_pids(start.cgroup)
    found = {stats[pid].process for pid in roots if pid in stats and stats[pid].is_alive}
    for pid in roots:
        found.update(procfs.descendants(pid))
    return sorted(found, key=lambda process: process.pid)


def _is_marked(pid: int, job_id: str) -> bool:
    try:
        variables = (procfs.PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False  # gone, or another user's: then it is not this job's
    return f"{MARK}={job_id}".encode() in variables


def _has_keeper(pid: int, stats: dict[int, Stat]) -> bool:
    """Whether another job's keeper stands above it: a job may set any mark, and must not reach others by it."""
    while (stat := stats.get(pid)) is not None:
        if stat.command == keeper.COMMAND.decode():
            return True
        pid = stat.parent
    return False


def _group_pids(cgroup: str | None) -> set[int]:
    members = Path(cgroup) / "cgroup.procs" if cgroup else None
    if members is None or not members.exists():
        return set()
    return {int(pid) for pid in members.read_text().split()}
