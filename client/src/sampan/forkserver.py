"""What a process imports before it forks jobs of one kind, and when such a job is better started afresh.

The local backend keeps one such process per environment and entry point. A job forked from it runs the same entry
point (`sampan.notebook`, `sampan.worker`) as a fresh process would, and finds everything imported.
"""

from __future__ import annotations

import importlib
import os
import site
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

NOTEBOOK = ("sampan.lab.server", "sampan.lab.extension", "jupyterlab.labapp")
WORKER = ("sampan.security", "sampan.parity", "distributed.worker", "distributed.comm.tcp")

READ_AT_IMPORT = (
    "DASK_",
    "JUPYTERHUB_SINGLEUSER_",
    "JUPYTERHUB_XSRF_",
    "JUPYTERLAB_",
    "LANG",
    "LC_",
    "LD_",
    "MALLOC_",
    "MKL_",
    "NUMEXPR_",
    "OMP_",
    "OPENBLAS_",
    "PYTHON",
    "TRAITLETS_",
    "TZ",
)
"""How the variables begin that Python, or a module imported for a job, looks at only once."""

_is_fork = False


def preload(module: str) -> None:
    """Import what this entry point needs, without the entry point itself, and start nothing."""
    if module == "sampan.notebook":
        lean = importlib.import_module("sampan.lab.lean")
        lean.prepare()
        _import_all(NOTEBOOK)
    elif module == "sampan.worker":
        _import_all(WORKER)
    else:
        raise ValueError(f"{module} is no entry point that jobs are forked for")


def _import_all(names: Iterable[str]) -> None:
    for name in names:
        importlib.import_module(name)


def files_read() -> set[str]:
    """Files and folders, beside modules, that the imports looked into: Dask's configuration."""
    dask = sys.modules.get("dask.config")
    folders = [Path(folder) for folder in getattr(dask, "paths", ())]
    return {str(path) for folder in folders for path in (folder, *folder.glob("*.y*ml"))}


def reads_home(home: str) -> bool:
    """Whether the imports would find anything of their own in this home folder, so that it matters whose it is."""
    places = [Path(home, ".config", "dask")]
    if site.ENABLE_USER_SITE:
        places.append(Path(home, ".local", "lib"))
    return any(place.exists() for place in places)


def needs_fresh_start(given: Mapping[str, str], environ: Mapping[str, str]) -> bool:
    """Whether a claim changes a variable that was already read by what is imported."""
    return any(environ.get(name) != value for name, value in given.items() if name.startswith(READ_AT_IMPORT))


def mark_as_fork() -> None:
    """Called once in every forked job, before its entry point runs."""
    global _is_fork
    _is_fork = True


def settle(given: Mapping[str, str], module: str) -> None:
    """Start this entry point afresh, in this very process, if it was forked and the claim asks for what a fork lacks.

    The claim is bound to this process, which an exec does not change; so the fresh start gets the same answer.
    """
    if _is_fork and needs_fresh_start(given, os.environ):
        os.environ.update({name: value for name, value in given.items() if name.startswith(READ_AT_IMPORT)})
        os.execv(sys.executable, [sys.executable, "-m", module])  # noqa: S606  (no shell is the point)
