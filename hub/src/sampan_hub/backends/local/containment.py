"""What holds a job's processes together here beside its keeper: a control group, where one was delegated to us."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


def find_group_parent(proc: Path = PROC, cgroups: Path = CGROUPS) -> Path | None:
    """Our own control group, if systemd delegated it (`Delegate=yes`): only below such a one may groups be made.

    Being able to write there is not enough: a login session's scope belongs to systemd, which may tidy it up.
    """
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return None
    own = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), None)
    if own is None:
        return None
    folder = cgroups / own.lstrip("/")
    return folder if _is_delegated(folder) and os.access(folder / "cgroup.procs", os.W_OK) else None


def _is_delegated(folder: Path) -> bool:
    try:
        return os.getxattr(folder, "user.delegate") == b"1"
    except OSError:
        return False


def group_of(parent: Path | None, job_id: str) -> str | None:
    """The control group of one job."""
    return None if parent is None else str(parent / group_name(job_id))


def group_name(job_id: str) -> str:
    return f"sampan-{job_id}"


def describe(parent: Path | None) -> str:
    """How jobs are held together and limited, in one sentence."""
    if parent is None:
        return (
            "Each job runs below a keeper that ends its whole process tree; "
            "the system does not limit its memory (no control group was delegated to Sampan)."
        )
    limited = "memory" in _read(parent / "cgroup.subtree_control").split()
    memory = "the system limits its memory" if limited else "the system does not limit its memory"
    return f"Each job runs below a keeper and in a control group below {parent}; {memory}."


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
