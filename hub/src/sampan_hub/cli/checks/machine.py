"""The machine and the environments people's code runs from."""

from __future__ import annotations

import math
import os
import resource
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path

from sampan_hub.cli.checks.trouble import Trouble
from sampan_hub.settings.model import LocalBackend, Settings

LEAST_OPEN_FILES = {"laptop": 1024, "site": 4096}
IMPORT_TIMEOUT_S = 60
NEEDED = ("sampan", "jupyterlab")
_PROBE = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception as error:
        sys.exit(f"{name}: {type(error).__name__}: {error}")
"""


def check_open_files(settings: Settings, running: Collection[int] = ()) -> Iterator[Trouble]:
    """Enough open files for the proxy's connections and the service's databases.

    Of those that run (pids) the least counts: who keeps them gives them other limits than a terminal has.
    """
    limits = [limit for pid in running if (limit := _open_files_of(pid)) is not None]
    soft, hard = min(limits or [resource.getrlimit(resource.RLIMIT_NOFILE)], key=_size_of)
    least = LEAST_OPEN_FILES[settings.profile]
    if soft != resource.RLIM_INFINITY and soft < least:
        able = hard == resource.RLIM_INFINITY or hard >= least
        remedy = (
            f"run `ulimit -n {least}` before `sampan up`" if able else "raise `nofile` in /etc/security/limits.conf"
        )
        yield Trouble(f"only {soft} files may be open at once; {least} are needed", remedy)


def _open_files_of(pid: int) -> tuple[int, int] | None:
    try:
        return resource.prlimit(pid, resource.RLIMIT_NOFILE)
    except (ProcessLookupError, PermissionError):
        return None


def _size_of(limit: tuple[int, int]) -> float:
    return math.inf if limit[0] == resource.RLIM_INFINITY else limit[0]


def check_environments(settings: Settings) -> Iterator[Trouble]:
    """Every environment's Python imports what notebooks need. Only where jobs see this machine's files."""
    if not any(isinstance(backend, LocalBackend) for backend in settings.backends.values()):
        return
    for name, environment in settings.environments.items():
        python = environment.prefix / "bin" / "python"
        if not os.access(python, os.X_OK):
            remedy = f"run `make up`, which installs it, or set `environments.{name}.prefix`"
            yield Trouble(f"environment {name}: {python} is not there", remedy)
            continue
        trouble = _import_trouble(python)
        if trouble is not None:
            remedy = f"run `{python} -m pip install 'sampan[lab]'`, or `make up`"
            yield Trouble(f"environment {name}: {trouble}", remedy)


def _import_trouble(python: Path) -> str | None:
    """What stands in the way of importing what notebooks need; None when nothing does."""
    environment = {key: os.environ[key] for key in ("HOME", "LANG", "TMPDIR") if key in os.environ}
    try:
        probe = subprocess.run(
            [str(python), "-I", "-c", _PROBE, *NEEDED],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=IMPORT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"importing {' and '.join(NEEDED)} took longer than {IMPORT_TIMEOUT_S} s"
    except OSError as error:
        return f"{python} cannot be run: {error.strerror}"
    if probe.returncode == 0:
        return None
    return (probe.stderr.strip().splitlines() or [f"{python} ended with {probe.returncode}"])[-1]
