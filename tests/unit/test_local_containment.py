"""Control groups: used only where systemd delegated one; what a job's group counts is told at its end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sampan_hub.backends.local import containment
from sampan_hub.backends.local.shim.ending import describe_end
from sampan_hub.backends.local.shim.group import Group
from tests.contract.local_jobs import LocalJobs, processes_of


def _machine(tmp_path: Path, own: str) -> tuple[Path, Path]:
    """A `/proc` and a cgroup mount in which this process is in the group `own`."""
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text(f"1:name=systemd:/\n0::{own}\n")
    (cgroups / own.lstrip("/")).mkdir(parents=True)
    (cgroups / own.lstrip("/") / "cgroup.procs").write_text("")
    return proc, cgroups


def test_a_delegated_group_is_found(tmp_path: Path) -> None:
    proc, cgroups = _machine(tmp_path, "/system.slice/sampan.service")
    own = cgroups / "system.slice/sampan.service"
    os.setxattr(own, "user.delegate", b"1")
    assert containment.find_group_parent(proc, cgroups) == own
    assert "does not limit" in containment.describe(own)
    (own / "cgroup.subtree_control").write_text("cpu memory\n")
    assert "the system limits its memory" in containment.describe(own)


def test_a_group_that_is_only_writable_is_left_to_systemd(tmp_path: Path) -> None:
    proc, cgroups = _machine(tmp_path, "/user.slice/session-1.scope")
    assert containment.find_group_parent(proc, cgroups) is None
    assert containment.find_group_parent(tmp_path / "none", cgroups) is None
    assert "no control group" in containment.describe(None)


async def test_a_job_enters_its_group_before_its_program_runs(tmp_path: Path) -> None:
    parent = tmp_path / "groups"
    parent.mkdir()
    jobs = LocalJobs(tmp_path / "jobs", group_parent=parent)
    job_id = await jobs.start()
    assert (parent / f"sampan-{job_id}" / "cgroup.procs").read_text() == str(processes_of(job_id)[0])
    await jobs.close()


def test_what_the_group_counted_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "group"
    folder.mkdir()
    for name, content in {"memory.max": "max", "memory.peak": "4096\n", "cgroup.kill": ""}.items():
        (folder / name).write_text(content)
    (folder / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    group = Group(str(folder), memory_bytes=1 << 30)
    group.make()
    assert (folder / "memory.max").read_text() == str(1 << 30)
    group.kill()
    assert (folder / "cgroup.kill").read_text() == "1"
    assert group.close()
    assert group.peak_memory_bytes == 4096


@pytest.mark.parametrize(
    ("status", "changes", "code"),
    [
        (9, {"out_of_memory": True, "cancelled": True}, "out-of-memory"),
        (15, {"cancelled": True}, "stopped"),
        (15, {"terminated": True}, "keeper-terminated"),
        (9, {}, "killed"),
        (11, {}, "signal"),
        (2 << 8, {}, "exited"),
        (0, {}, "completed"),
        (127 << 8, {"failure": "no such file"}, "cannot-start"),
    ],
)
def test_the_most_telling_reason_wins(status: int, changes: dict[str, bool | str], code: str) -> None:
    seen = {"cancelled": False, "terminated": False, "failure": "", "out_of_memory": False, **changes}
    assert describe_end(status=status, peak_memory_bytes=1, **seen).reason_code == code  # type: ignore[arg-type]
