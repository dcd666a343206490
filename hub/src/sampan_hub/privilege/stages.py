"""The folders of jobs, handled as the person they belong to, from one open folder to the next, never through a link."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sampan_hub.privilege.account import Account
from sampan_hub.privilege.errors import RunAsError
from sampan_hub.privilege.policy import Policy
from sampan_hub.privilege.requests import RECORD_FILE
from sampan_hub.privilege.running import Deadline

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK_FILE = ".lock"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_THEIRS = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
_LOCK_PAUSE_S = 0.05
_LOCK_WAIT_S = 10.0
"""The person can hold the lock of their stage, and must not keep the service's calls waiting by it for long."""
_MAX_LOG_BYTES = 1024 * 1024
_MAX_JOB = 1 << 32


class Root(NamedTuple):
    """Where the stages of one person are: an existing folder, and what is made below it."""

    base: str
    below: tuple[str, ...]
    called: str

    @property
    def path(self) -> str:
        return "/".join((self.base.rstrip("/"), *self.below))


def make_root(policy: Policy, account: Account) -> Root:
    """The stage root that root's settings give this person. Pure."""
    if policy.stage_root is None:
        return Root(account.home, (".sampan", "jobs"), "Your home folder")
    base, _, last = policy.stage_root.replace("%u", account.name).rpartition("/")
    return Root(base, (last,), "The folder of everybody's jobs")


@contextlib.contextmanager
def _told(root: Root) -> Iterator[None]:
    """Errors of the system as sentences for the person whose folder it is."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise RunAsError(
                "home_full",
                f"{root.called} is full ({root.base}): make room, or ask an administrator for more.",
            ) from None
        if error.errno in _NOT_THEIRS:
            raise RunAsError(
                "home",
                f"Your jobs' folder {root.path} cannot be used ({error.strerror}): "
                f"it must be a folder of yours, no link, and {root.base} must be there.",
            ) from None
        raise RunAsError("failed", f"{root.path} cannot be used now: {error.strerror}.") from None


def _require_own(descriptor: int, root: Root) -> None:
    found = os.fstat(descriptor)
    if found.st_uid != os.getuid():
        raise RunAsError("home", f"{root.path}, the folder of your jobs, belongs to somebody else: remove it.")
    if found.st_mode & 0o022:
        os.fchmod(descriptor, stat.S_IMODE(found.st_mode) & ~0o022)


def _enter(folder: int, name: str) -> int:
    """The folder `name` in the open `folder`, which is closed."""
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def opened_root(root: Root, is_made: bool) -> Iterator[int]:
    """A descriptor of the stage root, made where it is missing if asked; FileNotFoundError where it is not."""
    folder = os.open(root.base, _FOLDER & ~os.O_NOFOLLOW)
    for name in root.below:
        if is_made:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=folder)
        folder = _enter(folder, name)
        _require_own(folder, root)
    try:
        yield folder
    finally:
        os.close(folder)


@contextlib.contextmanager
def _opened_folder(above: int, name: str) -> Iterator[int]:
    folder = os.open(name, _FOLDER, dir_fd=above)
    try:
        yield folder
    finally:
        os.close(folder)


@contextlib.contextmanager
def made_stage(root: Root, name: str) -> Iterator[tuple[int, bool]]:
    """A descriptor of the stage, and whether it was made just now."""
    with _told(root), opened_root(root, is_made=True) as above:
        try:
            os.mkdir(name, 0o700, dir_fd=above)
            is_new = True
        except FileExistsError:
            is_new = False
        with _opened_folder(above, name) as stage:
            _require_own(stage, root)
            yield stage, is_new


@contextlib.contextmanager
def locked(stage: int, deadline: Deadline) -> Iterator[float]:
    """Holds the stage's lock; gives the time at which the lock was made, which is the stage's."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    lock = os.open(_LOCK_FILE, flags, 0o600, dir_fd=stage)
    wait = Deadline(min(_LOCK_WAIT_S, deadline.left_s))
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if wait.left_s == 0:
                    raise RunAsError("busy", "Another call works on the same job: ask again.") from None
                time.sleep(min(_LOCK_PAUSE_S, wait.left_s))
        yield os.fstat(lock).st_mtime
    finally:
        os.close(lock)


def _write_new(stage: int, name: str, content: bytes) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=stage)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(name, flags, 0o600, dir_fd=stage), "wb") as file:
        file.write(content)


def write_files(stage: int, files: Mapping[str, bytes]) -> None:
    """Puts the files there, each made anew, 0600."""
    for name, content in files.items():
        _write_new(stage, name, content)


def write_record(stage: int, slurm_job: int) -> None:
    """Notes which job the stage became; whole or not at all."""
    temporary = f".{RECORD_FILE}"
    _write_new(stage, temporary, json.dumps({"slurm_job": slurm_job}).encode())
    os.rename(temporary, RECORD_FILE, src_dir_fd=stage, dst_dir_fd=stage)


@contextlib.contextmanager
def _opened_file(folder: int, name: str) -> Iterator[tuple[int, int]]:
    """A descriptor of the regular file `name`, and its size; neither a link is followed nor a pipe waited for."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    descriptor = os.open(name, flags, dir_fd=folder)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise RunAsError("stage", f"{name} in the folder of that job is not a file: remove it.")
        yield descriptor, found.st_size
    finally:
        os.close(descriptor)


def read_record(stage: int) -> int | None:
    """The job the stage became; None where there is no whole record."""
    try:
        with _opened_file(stage, RECORD_FILE) as (descriptor, _):
            text = os.read(descriptor, 4096)
    except FileNotFoundError:
        return None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    job = record.get("slurm_job") if type(record) is dict else None
    return job if type(job) is int and 0 < job < _MAX_JOB else None


def read_tail(root: Root, stage: str, name: str, lines: int) -> tuple[list[str], bool]:
    """The last lines of a regular file in the stage, and whether there was more before; nothing where it is missing."""
    with _told(root):
        try:
            with (
                opened_root(root, is_made=False) as above,
                _opened_folder(above, stage) as folder,
                _opened_file(folder, name) as (descriptor, size_bytes),
            ):
                skipped = max(0, size_bytes - _MAX_LOG_BYTES)
                data = os.pread(descriptor, _MAX_LOG_BYTES, skipped)
        except FileNotFoundError:
            return [], False
    said = data.decode("utf-8", "replace").splitlines()
    return said[-lines:], skipped > 0 or len(said) > lines


def remove_stage(root: Root, name: str) -> None:
    """Removes the stage with all that is in it, following no link; nothing where it is missing."""
    with _told(root), contextlib.suppress(FileNotFoundError), opened_root(root, is_made=False) as above:
        for _, folders, files, here in os.fwalk(name, topdown=False, follow_symlinks=False, dir_fd=above):
            for file in files:
                os.unlink(file, dir_fd=here)
            for folder in folders:
                _remove_empty(folder, here)
        _remove_empty(name, above)


def _remove_empty(name: str, above: int) -> None:
    """An emptied folder, or the link to one that `fwalk` takes for a folder."""
    try:
        os.rmdir(name, dir_fd=above)
    except NotADirectoryError:
        os.unlink(name, dir_fd=above)
