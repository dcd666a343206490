"""The session's runtime folder: where clusters of one notebook keep sockets, logs and their public facts.

    /tmp/sampan-<uid>-<12 hex digits>/         0700, one for each notebook session
      owner.json                               the notebook server's process, by which others see whether it has ended
      <cluster name>/                          0700
        start.json                             what the kernel asked of the host
        host.json                              written once the host is ready: where it is, which process
        failed.json                            written instead when it could not start
        state.json                             what it has now, rewritten when it changes (JupyterLab's sidebar)
        host.log, dash.sock                    0600

On node-local disk with a short path (a socket's path has at most 107 bytes), never home or XDG: those may be shared,
full or long. The digits come from the session's credential, so nobody else can make the folder first.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sampan._api import Session
from sampan.errors import SampanError

LOCAL = Path("/tmp")  # noqa: S108  node-local and short by definition; the folder below it is private and checked
NAME = re.compile(r"^[a-z0-9][a-z0-9._-]{0,62}$")


def session_dir(session: Session) -> Path:
    """The runtime folder of this notebook session; not created here."""
    return runtime_dir(session.job, session.connect().credential)


def runtime_dir(job: str, credential: str) -> Path:
    """The folder of a job with this credential; not created here."""
    seed = f"runtime {job} {credential}".encode()
    return LOCAL / f"sampan-{os.getuid()}-{hashlib.sha256(seed).hexdigest()[:12]}"


def ensure_private(folder: Path) -> Path:
    """Make the folder 0700, or check that the existing one is ours, private and no link."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise SampanError(
                f"{folder} is not a private folder of this user: remove it, or ask its owner to"
            ) from None
    return folder


def own(folder: Path) -> None:
    """Record in a session's folder that this process is the one it is for."""
    write_json(folder / "owner.json", {**_here(), "pid": os.getpid(), "pid_started": start_time(os.getpid())})


def sweep() -> list[Path]:
    """Remove the folders of this user's sessions that ended without doing it themselves (killed, or the host was).

    Left alone: what another machine or container sharing this folder made, what has no owner yet, what a host uses.
    """
    removed = []
    for folder in LOCAL.glob(f"sampan-{os.getuid()}-*"):
        owner = read_json(folder / "owner.json")
        if owner is None or folder.is_symlink() or folder.stat().st_uid != os.getuid():
            continue
        is_of_here = all(owner.get(name) == value for name, value in _here().items())
        if is_of_here and not is_alive(owner) and clear(folder):
            removed.append(folder)
    return removed


def clear(folder: Path) -> bool:
    """Remove an ended session's folder, unless a cluster's host still runs there: the last one clears it then."""
    if any(map(live_host, folder.iterdir())):
        return False
    shutil.rmtree(folder, ignore_errors=True)
    return True


def _here() -> dict[str, str]:
    """Where a pid means what it says: this machine, these pids; an earlier boot's are all gone."""
    return {"machine": os.uname().nodename, "pids": str(Path("/proc/self/ns/pid").readlink())}


def cluster_dir(session: Session, name: str) -> Path:
    """The folder of one cluster; not created here."""
    if not NAME.match(name):
        raise ValueError(f"name {name!r}: expected lower-case letters, digits and . _ -, at most 63, e.g. 'flights'")
    return session_dir(session) / name


def write_private(path: Path, content: bytes) -> None:
    """Put a file in place at once, 0600 from its first byte; readers see the old or the new one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """`write_private` for JSON."""
    write_private(path, json.dumps(content).encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """The content; None when there is no (readable) such file."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def start_time(pid: int) -> int | None:
    """When the process began, in clock ticks since boot; None when there is none. Tells a reused pid apart."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def live_host(folder: Path) -> dict[str, Any] | None:
    """`host.json` of a cluster whose host process still runs; None otherwise."""
    host = read_json(folder / "host.json")
    return host if host is not None and is_alive(host) else None


def is_alive(host: Mapping[str, Any]) -> bool:
    """Whether the very process that wrote this record (`host.json`, `owner.json`) runs."""
    return start_time(int(host["pid"])) == int(host["pid_started"])


def live_hosts(session: Session) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Folder and `host.json` of every running cluster of this session, oldest first."""
    found = []
    for path in session_dir(session).glob("*/host.json"):
        host = live_host(path.parent)
        if host is not None:
            found.append((path.parent, host))
    yield from sorted(found, key=lambda item: item[1]["started_at"])


def tail(path: Path, lines: int = 20) -> list[str]:
    """The last lines of a log; nothing when it cannot be read."""
    try:
        return path.read_text(errors="replace").splitlines()[-lines:]
    except OSError:
        return []
