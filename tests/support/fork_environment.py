"""A stand-in for a user environment, so small that its fork servers start at once: jobs run the code they are given.

Its modules are named as the client's, because fork servers serve no others. `imported` is what a fork server imports
and a fresh start does not: a job in which it is loaded was forked.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

FORKSERVER = """
import importlib
def preload(module):
    importlib.import_module("imported")
def files_read():
    return set()
def reads_home(home):
    return home.endswith("/full")
"""
ENTRY = """
import os
exec(compile(os.environ["SAMPAN_CODE"], "<the job>", "exec"))
"""
IS_FORKED = "import sys; print('forked' if 'imported' in sys.modules else 'fresh')"


class ForkEnvironment:
    """Its folder is on the path of jobs by `PYTHONPATH`; `variables` and `argv` are what such a job needs."""

    def __init__(self, folder: Path, imported: str = "VALUE = 1\n") -> None:
        self.folder = folder
        package = folder / "sampan"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "forkserver.py").write_text(FORKSERVER)
        for name in ("notebook", "worker"):
            (package / f"{name}.py").write_text(ENTRY)
        self.imported = folder / "imported.py"
        self.imported.write_text(imported)

    @property
    def variables(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}

    @property
    def argv(self) -> tuple[str, ...]:
        return (sys.executable, "-m", "sampan.worker")

    def running(self, code: str) -> Mapping[str, str]:
        """The variables of a job that runs this Python code."""
        return {**self.variables, "SAMPAN_CODE": code}

    def becoming(self, argv: Sequence[str]) -> Mapping[str, str]:
        """The variables of a job that becomes this program."""
        return self.running(f"import os, shlex; words = shlex.split({shlex.join(argv)!r}); os.execvp(words[0], words)")
