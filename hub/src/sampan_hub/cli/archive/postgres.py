"""PostgreSQL by its own programs: `pg_dump` in custom format, `pg_restore` and `psql` in one transaction."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa
from psycopg.conninfo import make_conninfo

from sampan_hub.cli.archive.manifest import BackupError

CLIENT_PACKAGE = "postgresql-client"
CONNECT_TIMEOUT_S = 10


def psycopg_url(url: sa.URL) -> sa.URL:
    """The same database by the driver that is installed here."""
    return url.set(drivername="postgresql+psycopg")


def has_tables(url: sa.URL, shown: str) -> bool:
    """Whether the database holds any; raises BackupError when it cannot be asked."""
    engine = sa.create_engine(psycopg_url(url), connect_args={"connect_timeout": CONNECT_TIMEOUT_S})
    try:
        return bool(sa.inspect(engine).get_table_names())
    except sa.exc.OperationalError as error:
        raise BackupError(f"{shown} cannot be reached: {_first_line(str(error.orig))}.") from error
    finally:
        engine.dispose()


def dump(url: sa.URL, target: Path, shown: str) -> None:
    """A consistent copy at `target`; raises BackupError."""
    words = ["--format=custom", "--no-owner", "--no-privileges", f"--file={target}"]
    _run("pg_dump", words, url, f"{shown} was not saved")


def restore(url: sa.URL, source: Path, shown: str, tables: Sequence[str]) -> None:
    """Put a dump back in place of what is there; all of it or nothing. Raises BackupError.

    `tables` (and what hangs on them) go first: a later version's tables are not in the dump that replaces them.
    """
    script = source.with_suffix(".sql")
    words = ["--clean", "--if-exists", "--no-owner", "--no-privileges", f"--file={script}", str(source)]
    _run("pg_restore", words, None, f"{shown} was not restored")
    quoted = ", ".join(f'"{name}"' for name in tables)
    drop = f"DROP TABLE IF EXISTS {quoted} CASCADE"
    words = ["--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", f"--command={drop}"]
    _run("psql", [*words, f"--file={script}"], url, f"{shown} was not restored")


def _run(program: str, words: Sequence[str], url: sa.URL | None, failure: str) -> None:
    found = shutil.which(program)
    if found is None:
        raise BackupError(f"{failure}: {program} is missing; install it with `apt-get install -y {CLIENT_PACKAGE}`.")
    environment = dict(os.environ)
    connection: list[str] = []
    if url is not None:
        _, parameters = psycopg_url(url).get_dialect()().create_connect_args(url)
        parameters.pop("context", None)  # psycopg's own, no parameter of the connection
        # The password goes by environment, which only this user can read; a command line everybody can.
        password = parameters.pop("password", None)
        if password is not None:
            environment["PGPASSWORD"] = str(password)
        conninfo = make_conninfo(**{"connect_timeout": CONNECT_TIMEOUT_S, **parameters})
        connection = ["--no-password", f"--dbname={conninfo}"]
    done = subprocess.run(
        [found, *connection, *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise BackupError(f"{failure}: {_first_line(done.stderr) or f'{program} ended with {done.returncode}'}.")


def _first_line(text: str) -> str:
    return next((line.strip().rstrip(".") for line in text.splitlines() if line.strip()), "")
