"""What must be true before anything is started; otherwise one sentence with the remedy."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sampan_hub.cli.supervise.records import make_own_record, write_record
from sampan_hub.cli.supervise.site import Site
from sampan_hub.settings.crossing import crosses_hosts
from sampan_hub.settings.keyfiles import KeyFileError, ensure_key_files
from sampan_hub.settings.model import Tls
from sampan_hub.trust.entry import ensure_entry
from sampan_hub.trust.front import open_front

MINIMUM_FREE_BYTES = 50 * 1024 * 1024


class CannotStart(Exception):
    """`sampan up` cannot go on: what is in the way, and what to do about it."""


@contextmanager
def prepared(site: Site, ensure: Callable[[Site], None] | None = None) -> Iterator[None]:
    """The state is there (`ensure`, else `ensure_state`), and nobody else here prepares or settles ports meanwhile.

    A process that leaves its record before the end of it keeps its port. Raises CannotStart.
    """
    try:
        for folder in (site.paths.root, site.paths.run):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(site.paths.run / "prepare.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotStart(_explain(site.paths.root, error)) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (ensure or ensure_state)(site)
        yield
    finally:
        os.close(lock)


def ensure_state(site: Site) -> None:
    """The state folder, its parts and the keys exist and are private; raises CannotStart."""
    with explained(site.paths.root):
        ensure_folders(site)
        _require_room(site)
        ensure_key_files(site.paths)
        _ensure_certificates(site)
        ensure_hub_database(site)


@contextmanager
def explained(root: Path) -> Iterator[None]:
    """What goes wrong with files below `root` inside of it is raised as CannotStart."""
    try:
        yield
    except KeyFileError as error:
        raise CannotStart(str(error)) from error
    except OSError as error:
        raise CannotStart(_explain(root, error)) from error


def ensure_folders(site: Site) -> None:
    """The state folder is ours alone, and so are its parts. Raises CannotStart, OSError."""
    root = site.paths.root
    for folder in (root, site.paths.run, site.paths.log, site.paths.links, site.paths.jobs):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if root.stat().st_uid != os.geteuid():
        raise CannotStart(f"{root} belongs to another user: run as that user, or set another `state_dir`.")
    if root.stat().st_mode & 0o077:
        raise CannotStart(f"{root} can be entered by others: run `chmod 700 {root}`.")


def ensure_hub_database(site: Site) -> None:
    """Where JupyterHub's database is a file, it is its owner's alone from the first moment."""
    if site.settings.hub_database is None:
        _ensure_private(site.paths.hub_sqlite)


def _require_room(site: Site) -> None:
    free = shutil.disk_usage(site.paths.root).free
    if free < MINIMUM_FREE_BYTES:
        where = site.paths.root
        raise CannotStart(f"The disk of {where} is full ({free >> 20} MiB left): make room, or move `state_dir`.")
    _write_something(site.paths.run / ".probe")


def _ensure_certificates(site: Site) -> None:
    """What the proxy shows to browsers and notebooks is there and, as far as Sampan makes it, lasts for a while."""
    now = datetime.now(UTC)
    tls = site.settings.tls
    if isinstance(tls, Tls):
        for path in (tls.certificate, tls.key):
            _require_readable(path)
    ensure_entry(site.settings, site.paths, now)
    if crosses_hosts(site.settings):
        open_front(site.paths.tls, now)


def _require_readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise CannotStart(
            f"{path} cannot be read ({error.strerror}): set `tls` to files that this user can read."
        ) from error


def _write_something(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, b"x" * 4096)
    finally:
        os.close(descriptor)
        path.unlink()


def _ensure_private(path: Path) -> None:
    """The file exists and is its owner's alone: whoever makes it later would make it readable by others."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _explain(root: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk of {root} is full: make room, or set `state_dir` in sampan.yaml to a folder elsewhere."
    what = f"{error.filename or root}: {error.strerror or error}"
    return f"The state folder cannot be written ({what}): run in a folder of your own, or set `state_dir`."


def take_lock(site: Site) -> int | None:
    """The lock that one `sampan up` holds while it lives; None when another holds it."""
    lock = os.open(site.paths.run / "up.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    write_record(site.paths.run / "up.json", make_own_record("up"))
    return lock


def find_proxy() -> tuple[Path, Path]:
    """The node and the proxy's script that `make up` installed beside this Python; raises CannotStart."""
    folder = Path(sys.prefix) / "node"
    script = folder / "node_modules" / "configurable-http-proxy" / "bin" / "configurable-http-proxy"
    own = folder / "bin" / "node"
    node = str(own) if own.exists() else shutil.which("node")
    if node is None or not script.exists():
        raise CannotStart(f"The proxy is not installed in {folder}: run `make up` or `sampan proxy install`.")
    return Path(node), script
