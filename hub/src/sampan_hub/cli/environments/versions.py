"""An environment and its versions: PATH is a link to one of the folders PATH.1, PATH.2, … beside it.

Paths inside an environment name its own folder, so a version stays where it was built. A version without its mark
is not finished; the mark is the last thing written before the link is moved.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

from sampan_hub.cli.environments.trouble import CannotBuild

MARK = "sampan-env.json"
BUILDING = ".sampan-building"


@dataclass(frozen=True, slots=True)
class Mark:
    """What a finished version says of itself."""

    made_at: str
    """ISO 8601, UTC."""
    sampan: str
    """The client's version."""
    python: str
    interpreter: str
    """The Python it is built on, which every node must have there."""
    packages: dict[str, str]
    """Versions of what notebooks and workers are made of."""


class State(Enum):
    """What a folder PATH.N is."""

    FINISHED = "finished"
    HALF = "half"
    """A build that did not come to its end."""
    FOREIGN = "foreign"
    """Nothing that Sampan made."""


def folder_of(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def list_versions(path: Path) -> dict[int, State]:
    """Every folder of the form PATH.N, by number."""
    form = re.compile(re.escape(path.name) + r"\.([1-9]\d{0,8})")
    found = {}
    for entry in path.parent.iterdir():
        match = form.fullmatch(entry.name)
        if match is not None:
            found[int(match[1])] = _state_of(entry)
    return found


def _state_of(folder: Path) -> State:
    if folder.is_symlink() or not folder.is_dir():
        return State.FOREIGN
    if (folder / BUILDING).exists():
        return State.HALF
    if read_mark(folder) is not None:
        return State.FINISHED
    return State.FOREIGN if any(folder.iterdir()) else State.HALF


def read_linked(path: Path) -> int | None:
    """The number of the version that PATH leads to; None where there is nothing. Raises CannotBuild: not ours."""
    if not path.is_symlink():
        if path.exists():
            raise CannotBuild(f"{path} is there and is no link that Sampan made: name another path, or move it away.")
        return None
    target = str(path.readlink())
    name, _, number = target.rpartition(".")
    if name != path.name or not number.isdecimal():
        raise CannotBuild(f"{path} is a link to {target}, which Sampan did not make: name another path, or move it.")
    return int(number)


def read_mark(folder: Path) -> Mark | None:
    """None when the version is not finished."""
    try:
        return Mark(**json.loads((folder / MARK).read_text()))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        return None


def begin(path: Path) -> Path:
    """A new folder for the next version, marked as being built."""
    folder = folder_of(path, max(list_versions(path), default=0) + 1)
    folder.mkdir(mode=0o755)
    (folder / BUILDING).touch()
    return folder


def finish(folder: Path, mark: Mark) -> None:
    """From here on the version may be linked."""
    (folder / MARK).write_text(json.dumps(asdict(mark), indent=2) + "\n")
    (folder / MARK).chmod(0o644)
    (folder / BUILDING).unlink()


def switch(path: Path, folder: Path) -> None:
    """PATH leads to the version from now on: there is no moment at which it leads nowhere."""
    draft = path.with_name(_draft_name(path))
    draft.unlink(missing_ok=True)
    draft.symlink_to(folder.name)
    draft.replace(path)


def _draft_name(path: Path) -> str:
    return f".{path.name}.link"


def sweep(path: Path) -> list[Path]:
    """Removes builds that did not come to their end; which. Only while holding the lock."""
    halves = [folder_of(path, number) for number, state in list_versions(path).items() if state is State.HALF]
    for folder in halves:
        shutil.rmtree(folder)
    return halves


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One at a time builds or prunes here; raises CannotBuild when another does."""
    if not path.parent.is_dir():
        raise CannotBuild(f"{path.parent} is not there.")
    lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotBuild(f"Another `sampan env` works on {path} now: wait for its end.") from None
        yield
    finally:
        os.close(lock)
