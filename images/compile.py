"""Byte-compiles what an image's build step added to /opt/sampan, and what the base image left of Python uncompiled.

The files of a layer get other times than they have while it is built, so the compiled ones do not go by time. One
process, in order, with one hash seed (the caller's part): from build to build they are the same.
"""

from __future__ import annotations

import os
import py_compile
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from importlib.util import cache_from_source
from pathlib import Path

BY_TIME = b"\0\0\0\0"


def is_compiled(source: Path, ours: bool) -> bool:
    """With a compiled form that stays valid: what the base image compiled by time is, what is ours is not."""
    try:
        with Path(cache_from_source(str(source))).open("rb") as compiled:
            flags = compiled.read(8)[4:]
    except FileNotFoundError:
        return False
    return not ours or flags != BY_TIME


def find_uncompiled(folder: Path, ours: bool) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            source = Path(place, name)
            if name.endswith(".py") and not is_compiled(source, ours):
                yield source


def main() -> None:
    warnings.simplefilter("ignore")  # of other people's code
    stdlib = Path(sysconfig.get_path("stdlib"))
    for folder, ours in ((stdlib, False), (Path(sys.prefix), True)):
        for source in find_uncompiled(folder, ours):
            try:
                mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
                py_compile.compile(str(source), doraise=True, invalidation_mode=mode)
            except py_compile.PyCompileError:
                continue  # a template or the test of a compiler: nothing that can be imported


if __name__ == "__main__":
    main()
