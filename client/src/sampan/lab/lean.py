"""Import the single-user server without what it never uses: about half of a notebook's start.

Importing `jupyterhub.singleuser.extension` and `jupyterlab.labapp` on a 2-core machine, the best of five interleaved
runs: 2.1 s as they come, 1.1 s with the first of these savings, 0.8 s with the second too, 0.45 s with all three.

* jsonschema builds a whole grammar for one URI format (`rfc3987_syntax`) that no notebook has; without the package it
  simply goes without that format.
* JupyterHub's database half (sqlalchemy, its tables, roles, pages) comes along with two functions of it.
* JupyterLab runs `node yarn config` at import to learn the registry for builds that nobody does here.

Beside the imports, jupyter-lsp runs `npm prefix -g` at every start (`node_roots`).
"""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

_DATABASE_HALF = {
    "sqlalchemy": {},
    "sqlalchemy.exc": {"SQLAlchemyError": type("SQLAlchemyError", (Exception,), {})},
    "jupyterhub.orm": {},
    "jupyterhub.roles": {},
    "jupyterhub.handlers": {},
    "jupyterhub.handlers.pages": {"HealthCheckHandler": type("HealthCheckHandler", (), {})},
}
"""Module -> the names that the single-user half takes from it at import."""


def prepare() -> None:
    """All three savings. Before anything of Jupyter is imported in this process."""
    spare_unused_grammar()
    import_single_user()
    spare_unused_build_settings()


def import_single_user() -> ModuleType:
    """`jupyterhub.singleuser.extension`, imported leanly; as it comes where another JupyterHub refuses that."""
    importlib.import_module("jupyterhub")
    try:
        with _without_database_half():
            return importlib.import_module("jupyterhub.singleuser.extension")
    except (ImportError, AttributeError):
        for name in [name for name in sys.modules if name.startswith("jupyterhub.")]:
            del sys.modules[name]
        return importlib.import_module("jupyterhub.singleuser.extension")


@contextmanager
def _without_database_half() -> Iterator[None]:
    """Put placeholders where the database half would be imported, and take every one of them away again.

    Afterwards an extension that uses sqlalchemy itself gets the real one.
    """
    absent = {name: names for name, names in _DATABASE_HALF.items() if name not in sys.modules}
    for name, names in absent.items():
        sys.modules[name] = _placeholder(name, names)
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


def _placeholder(name: str, names: dict[str, Any]) -> ModuleType:
    module = ModuleType(name)
    module.__path__ = []  # its submodules are looked up in sys.modules, and nowhere else
    module.__dict__.update(names)
    return module


def spare_unused_grammar() -> None:
    """Make `import rfc3987_syntax` fail, as if it were not installed. Before the first import of jsonschema."""
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # None is Python's way to say "absent"


def spare_unused_build_settings() -> None:
    """Let JupyterLab's commands find no yarn settings, as where there is no node. Before `jupyterlab.labapp`."""
    commands = importlib.import_module("jupyterlab.commands")
    commands._yarn_config = lambda _logger: {"yarn config": {}, "npm config": {}}  # type: ignore[attr-defined]


def node_roots() -> list[str]:
    """Where language servers are looked for: as jupyter-lsp does, but without starting node to ask where npm is."""
    roots = [
        Path.cwd(),
        Path(sys.prefix, "share", "jupyter", "lab", "staging"),
        Path(sys.prefix, "lib"),
        Path(sys.prefix),
    ]
    npm = shutil.which("npm")
    if npm is not None:
        prefix = Path(npm).parent.parent
        roots += [prefix / "lib", prefix]
    return [str(root) for root in roots]
