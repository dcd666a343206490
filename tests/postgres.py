"""A PostgreSQL server of our own for tests: made in a temporary folder, on a unix socket, ended by its own id."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg

USER = "postgres"


class NoServer(RuntimeError):
    """The server package is missing; tests that need it fail with the command that installs it."""


@dataclass(slots=True)
class Server:
    """A running server; each database asked for is new."""

    socket: Path
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def make_database(self) -> str:
        """The SQLAlchemy URL of a new, empty database."""
        name = f"sampan_{os.getpid()}_{next(self._numbers)}"
        with psycopg.connect(host=str(self.socket), user=USER, dbname="postgres", autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return f"postgresql+psycopg://{USER}@/{name}?host={self.socket}"


def find_programs() -> Path:
    """The newest server's folder of programs."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not folders:
        raise NoServer("PostgreSQL is not installed: apt-get install -y postgresql")
    return folders[-1].parent


@contextmanager
def running_server() -> Iterator[Server]:
    """Make a cluster, start it, end it. As root it runs as user postgres, because the server refuses root."""
    programs = find_programs()
    folder = Path(tempfile.mkdtemp(prefix="sampan-pg-"))
    try:
        as_user = _as_user(folder)
        data = folder / "data"
        _run([*as_user, str(programs / "initdb"), "-D", str(data), "-U", USER, "-A", "trust", "-N", "-E", "UTF8"])
        options = f"-c listen_addresses='' -k {folder} -c fsync=off -c max_connections=120"
        control = [*as_user, str(programs / "pg_ctl"), "-D", str(data), "-w"]
        _run([*control, "-o", options, "-l", str(folder / "log"), "start"])
        try:
            yield Server(folder)
        finally:
            _run([*control, "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder)


def _as_user(folder: Path) -> list[str]:
    if os.geteuid() != 0:
        return []
    owner = pwd.getpwnam(USER)
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    return ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]


def _run(argv: list[str]) -> None:
    done = subprocess.run(
        argv, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{argv} ended with {done.returncode}: {done.stdout.decode(errors='replace')}")
