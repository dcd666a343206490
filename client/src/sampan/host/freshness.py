"""Whether what this process has imported is still what a new process would import. Standard library only.

(Fork servers of the local backend ask the same of theirs; what a notebook forks hosts from lives as long as it does.)
"""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Iterable
from pathlib import Path

Stamp = tuple[int, int, int] | None


class Imports:
    """Made before the first import that counts, completed after the last one.

    Every installation changes a folder on `sys.path` (a `…dist-info` comes or goes); every edit changes a file.
    """

    def __init__(self) -> None:
        self.path = list(sys.path)
        self._seen = _look(_places())

    def complete(self, more: Iterable[str]) -> None:
        """Remember the files of everything imported, and `more` files and folders that were read meanwhile."""
        modules = list(sys.modules.values())
        files = {file for module in modules if isinstance(file := getattr(module, "__file__", None), str)}
        self.watch({*files, *more})

    def watch(self, paths: Iterable[str]) -> None:
        """Count these too, as they are now (they may be absent), where they are not watched already."""
        self._seen = {**_look(paths), **self._seen}

    def are_current(self) -> bool:
        return all(_stamp(path) == stamp for path, stamp in self._seen.items())


def places_in_home(home: str) -> set[str]:
    """Where a program with this home folder would find packages and settings of Dask that others do not have."""
    settings = Path(home, ".config", "dask")
    places = {settings, *settings_files(settings)}
    if site.ENABLE_USER_SITE:
        places.add(Path(home, ".local", "lib"))
    return {str(place) for place in places}


def settings_files(folder: str | Path) -> list[Path]:
    """The files that Dask reads in one of its folders."""
    return [path for path in Path(folder).glob("*") if path.suffix.lower() in (".json", ".yaml", ".yml")]


def _places() -> set[str]:
    """Where imports are looked for, what decides where, and the interpreter itself."""
    folders = {entry for entry in sys.path if entry}
    if site.ENABLE_USER_SITE:
        folders.add(site.getusersitepackages())
    pth_files = {str(path) for folder in folders for path in Path(folder).glob("*.pth")}
    # The environment by the name it was called by, too: that may be a link, which leads to another one by now.
    called = Path(sys.orig_argv[0]).parent.parent
    settings = {str(prefix / "pyvenv.cfg") for prefix in (Path(sys.prefix), called)}
    return {*folders, *pth_files, *settings, os.path.realpath(sys.executable)}


def _look(paths: Iterable[str]) -> dict[str, Stamp]:
    return {path: _stamp(path) for path in paths}


def _stamp(path: str) -> Stamp:
    try:
        found = os.stat(path)  # noqa: PTH116  (a thousand of them before every fork)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
