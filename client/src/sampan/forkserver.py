"""What a process imports before it forks jobs of one kind.

The local backend keeps one such process per environment and entry point. A job forked from it runs the same entry
point (`sampan.notebook`, `sampan.worker`) as a fresh process would, and finds everything imported. A notebook also
finds what the hosts of its clusters need, and forks them in turn (`host.zygote`).
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import site
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sampan.host.freshness import Imports, settings_files

NOTEBOOK = (
    "sampan._job",
    "sampan.host.zygote",
    "sampan.lab.server",
    "sampan.lab.extension",
    "IPython",
    "cryptography.hazmat.primitives.asymmetric.ec",
    "cryptography.hazmat.primitives.serialization",
    "cryptography.x509",
    "jinja2.ext",
    "jupyter_server.kernelspecs.handlers",
    "jupyter_server.nbconvert.handlers",
    "jupyter_server.services.api.handlers",
    "jupyter_server.services.config.handlers",
    "jupyter_server.services.contents.handlers",
    "jupyter_server.services.events.handlers",
    "jupyter_server.services.kernels.handlers",
    "jupyter_server.services.kernelspecs.handlers",
    "jupyter_server.services.nbconvert.handlers",
    "jupyter_server.services.security.handlers",
    "jupyter_server.services.sessions.handlers",
    "jupyter_server.services.shutdown",
    "jupyter_server.view.handlers",
    "jupyterlab.labapp",
    "tornado.platform.asyncio",
)
NOTEBOOK_EXTENSIONS = (
    "jupyter_lsp.serverextension",
    "jupyter_lsp.specs",
    "jupyter_lsp.virtual_documents_shadow",
    "jupyter_resource_usage.server_extension",
    "jupyter_server_proxy.api",
    "jupyter_server_terminals.app",
    "jupyterlab_git.handlers",
    "nbdime.webapp.nb_server_extension",
    "nbgitpuller.pull",
    "notebook_shim.nbserver",
)
"""What these packages import when a server loads them; where one is not installed, or is another version, it is
imported by the server that wants it."""
HOST = (
    "cryptography.hazmat.primitives.serialization",
    "distributed.http.health",
    "distributed.http.scheduler.info",
    "distributed.http.statics",
    "distributed.comm.tcp",
    "sampan.host.main",
)
"""Beside the notebook's own: what a cluster's host imports."""
WORKER = ("sampan._job", "sampan.parity", "sampan.security", "distributed.comm.tcp", "distributed.worker")


for_hosts: Imports | None = None
"""What this process, or the one it was forked from, has imported for hosts; None where it has not."""


def preload(module: str) -> None:
    """Import what this entry point needs, without the entry point itself, and start nothing."""
    global for_hosts
    if module == "sampan.notebook":
        imports = Imports()
        lean = importlib.import_module("sampan.lab.lean")
        lean.prepare()
        _import_all((*NOTEBOOK, *filter(_is_there, NOTEBOOK_EXTENSIONS)))
        with _logging_as_it_was():
            _import_all(HOST)
        imports.complete(files_read())
        for_hosts = imports
    elif module == "sampan.worker":
        _import_all(WORKER)
    else:
        raise ValueError(f"{module} is no entry point that jobs are forked for")


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _import_all(names: Iterable[str]) -> None:
    for name in names:
        importlib.import_module(name)


@contextmanager
def _logging_as_it_was() -> Iterator[None]:
    """Dask silences tornado's loggers when it is imported, which is not for a notebook's server, who uses them too."""
    before = {name: (logger.level, logger.handlers[:], logger.propagate) for name, logger in _loggers()}
    try:
        yield
    finally:
        for name, logger in _loggers():
            level, logger.handlers[:], logger.propagate = before.get(name, (logging.NOTSET, [], True))
            logger.setLevel(level)


def _loggers() -> list[tuple[str, logging.Logger]]:
    known = logging.Logger.manager.loggerDict
    return [(name, logger) for name, logger in known.items() if isinstance(logger, logging.Logger)]


def files_read() -> set[str]:
    """Files and folders, beside modules, that the imports looked into: Dask's configuration."""
    dask = sys.modules.get("dask.config")
    return {path for folder in getattr(dask, "paths", ()) for path in (str(folder), *map(str, settings_files(folder)))}


def reads_home(home: str) -> bool:
    """Whether the imports would find anything of their own in this home folder, so that it matters whose it is."""
    if site.ENABLE_USER_SITE and Path(home, ".local", "lib").exists():
        return True
    return any(map(_says_something, settings_files(Path(home, ".config", "dask"))))


def _says_something(settings: Path) -> bool:
    """Libraries of Dask leave files there in which every line is a comment: they are nobody's settings."""
    try:
        lines = settings.read_text().splitlines()
    except (OSError, ValueError):
        return True
    return any(line.strip() and not line.lstrip().startswith("#") for line in lines)
