"""What a Slurm job runs first, on its node, as its person: from the stage's folder to the job's own program.

It travels as data beside `batch.json` and is started by the node's Python without any of our packages:
standard library only, one process, and in the end it *becomes* the job's program.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import pwd
import shutil
import stat
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

MARK = b"\0job\0"
LOCK = ".lock"
NODE_LOCAL = Path("/tmp")  # noqa: S108  node-local by definition; the folder below it is private and checked
KEPT = frozenset(
    {
        "CUDA_VISIBLE_DEVICES",
        "GPU_DEVICE_ORDINAL",
        "ROCR_VISIBLE_DEVICES",
        "SLURMD_NODENAME",
        "SLURM_CLUSTER_NAME",
        "SLURM_CONF",
        "SLURM_RESTART_COUNT",
        "TMPDIR",
        "ZE_AFFINITY_MASK",
    }
)
KEPT_BEGINNINGS = ("SLURM_JOB", "SLURM_ARRAY_", "SLURM_CPUS_", "SLURM_MEM_", "SLURM_GPUS")
CANNOT_START = 71
MAKE_ATTEMPTS = 10
"""To make a folder that is still there once it is held: many of one person's jobs may start on a node at once."""


class CannotStart(Exception):
    """The job ends before it began; the message goes to its log."""


class Task(NamedTuple):
    """One job as it was written down for the node."""

    job: str
    argv: list[str]
    env: dict[str, str]
    folder: str
    files: dict[str, bytes]


def read_task(stage: Path, environ: Mapping[str, str]) -> Task:
    """The program of this task, with the job's own id in it."""
    batch = json.loads((stage / "batch.json").read_bytes())
    number = environ.get("SLURM_ARRAY_TASK_ID", "alone")
    if number not in batch["tasks"]:
        raise CannotStart(f"task {number} is not in this batch")
    job, place = batch["tasks"][number]
    program = batch["programs"][place]

    def own(text: str) -> str:
        return text.replace(MARK.decode(), job)

    return Task(
        job=job,
        argv=[own(part) for part in program["argv"]],
        env={name: own(value) for name, value in program["env"].items()},
        folder=own(program["folder"]),
        files={
            name: base64.b64decode(content).replace(MARK, job.encode()) for name, content in program["files"].items()
        },
    )


def make_environment(
    environ: Mapping[str, str], account: pwd.struct_passwd, task: Task, private: Path
) -> dict[str, str]:
    """A small clean environment: who one is, what Slurm gave, the job's own variables."""
    kept = {name: value for name, value in environ.items() if name in KEPT or name.startswith(KEPT_BEGINNINGS)}
    usual = {
        "HOME": account.pw_dir,
        "USER": account.pw_name,
        "LOGNAME": account.pw_name,
        "SHELL": account.pw_shell or "/bin/sh",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TMPDIR": str(NODE_LOCAL),
    }
    run = f"{environ.get('SLURM_JOB_ID', '0')}:{environ.get('SLURM_RESTART_COUNT', '0')}"
    own = {"SAMPAN_JOB": task.job, "SAMPAN_JOB_DIR": str(private), "SAMPAN_RUN": run}
    return {**usual, **kept, **task.env, **own}


def hold(folder: Path, *, wait: bool) -> int | None:
    """A descriptor that keeps the folder from being swept for as long as this process lives; None if it is held."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def sweep(parent: Path, beginning: str) -> None:
    """Remove the folders of this user's jobs on this node whose process is gone."""
    for folder in parent.iterdir():
        if not folder.name.startswith(beginning):
            continue
        with contextlib.suppress(OSError):
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                continue
            descriptor = hold(folder, wait=False)
            if descriptor is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(descriptor)


def make_folder(wanted: Path) -> Path:
    """A new private folder of that name or, where there is one, of a name that begins with it."""
    try:
        wanted.mkdir(mode=0o700)
    except FileExistsError:  # held by a run that still ends, or somebody else's
        return Path(tempfile.mkdtemp(prefix=f"{wanted.name}-", dir=wanted.parent))
    return wanted


def hold_for_life(folder: Path) -> bool:
    """Hold the folder in this process and the program it becomes; False where another job's sweep was quicker."""
    try:
        held = hold(folder, wait=True)
    except FileNotFoundError:
        return False
    if held is None:
        return False
    if os.fstat(held).st_nlink == 0:
        os.close(held)
        return False
    os.set_inheritable(held, True)
    return True


def make_private(parent: Path, files: Mapping[str, bytes], number: str) -> Path:
    """A new folder on this node that only its owner can enter, with the job's private files; held by this process."""
    beginning = f"sampan-{os.getuid()}-job-"
    sweep(parent, beginning)
    for _ in range(MAKE_ATTEMPTS):
        folder = make_folder(parent / f"{beginning}{number}")
        if hold_for_life(folder):
            break
    else:
        raise CannotStart(f"a folder in {parent} was removed again and again")
    for name, content in files.items():
        if "/" in name or name.startswith("."):
            raise CannotStart(f"{name!r} is not a name for a private file")
        with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
    return folder


def enter(folder: str, home: str) -> None:
    """The working directory of the job; `~` is the home."""
    if folder == "~" or folder.startswith("~/"):
        folder = home + folder[1:]
    try:
        os.chdir(folder)
    except OSError as error:
        raise CannotStart(f"the folder {folder} cannot be entered on this node: {error.strerror}") from error


def main(environ: Mapping[str, str], stage: Path, parent: Path) -> None:
    """Become the job's program; returns only by raising CannotStart or OSError."""
    os.umask(0o077)
    task = read_task(stage, environ)
    account = pwd.getpwuid(os.getuid())
    private = make_private(parent, task.files, environ.get("SLURM_JOB_ID", "0"))
    variables = make_environment(environ, account, task, private)
    enter(task.folder, variables["HOME"])
    os.execvpe(task.argv[0], task.argv, variables)  # noqa: S606  (this is what the launcher is for)


if __name__ == "__main__":
    try:
        main(dict(os.environ), Path(__file__).absolute().parent, NODE_LOCAL)
    except (CannotStart, OSError, KeyError, ValueError) as error:
        print(f"sampan: the job could not start: {error}", file=sys.stderr)
        sys.exit(CANNOT_START)
