"""The computer below: what it must have, one testbed at a time, nothing left of an earlier one that was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.installation import wait_until
from tests.testbeds.slurm.machine import MARK, PATH
from tests.testbeds.slurm.network import remove_bridge

CGROUPS = Path("/sys/fs/cgroup")
PROGRAMS = (
    "slurmctld",
    "slurmd",
    "slurmdbd",
    "squeue",
    "munged",
    "mariadbd",
    "sudo",
    "ip",
    "nft",
    "ss",
    "tcpdump",
    "ps",
)


class TestbedBusy(RuntimeError):
    """Another testbed runs on this computer."""

    __test__ = False


def check_computer() -> None:
    """Raises with the remedy when a testbed cannot run here."""
    if os.geteuid() != 0:
        raise RuntimeError("the Slurm testbed makes machines out of namespaces: run its tests as root")
    if missing := [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]:
        raise RuntimeError(f"the Slurm testbed lacks {', '.join(missing)}: `make test-slurm` installs them")


@contextmanager
def only_one() -> Iterator[None]:
    """Hold the computer's one place for a testbed; its holder's end, however hard, frees it."""
    path = Path(tempfile.gettempdir(), "sampan-slurm-testbed.lock")
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise TestbedBusy(f"a Slurm testbed runs already, of process {lock.read()}: end that first") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def machines_alive() -> list[int]:
    """The first processes of all machines on this computer: their name says so, and they are root's."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):
                if (folder / "cmdline").read_bytes().startswith(f"{MARK} ".encode()) and folder.stat().st_uid == 0:
                    found.append(int(folder.name))
    return found


def remove_leftovers() -> None:
    """End machines that nobody holds any more, with all in them, and remove their bridge and cgroups."""
    for pid in machines_alive():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not machines_alive(), 20, "the end of an earlier testbed's machines")
    remove_bridge()
    remove_cgroups()


def remove_cgroups() -> None:
    """What slurmd made for its steps, where the computer has cgroups of version 1."""
    for top in CGROUPS.glob("*/slurm_node*"):
        for folder, _, _ in os.walk(top, topdown=False):
            with suppress(OSError):  # a process that is just ending is still in it
                Path(folder).rmdir()


def has_cgroups_v1() -> bool:
    return all((CGROUPS / name / "release_agent").exists() for name in ("freezer", "memory")) and os.access(
        CGROUPS / "freezer", os.W_OK
    )
