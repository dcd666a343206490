"""Copied into every environment: who starts by the link stays with the version that it led to.

Otherwise what a running notebook imports late would come from another version, once the link has moved. Called from
a `.pth` file at every start of Python, so it costs one system call. Standard library only, and no other module.
"""

from __future__ import annotations

import os
import sys

MODULE = "_sampan_staying"
PTH = f"import {MODULE}; {MODULE}.stay()\n"


def stay() -> None:
    """This process finds itself, and everything it will import, by the version's own folder."""
    link = sys.prefix
    try:
        target = os.readlink(link)  # noqa: PTH115 - no pathlib before anything was asked for
    except OSError:
        return
    own = f"{os.path.dirname(link)}/{target}"  # noqa: PTH120

    def moved(path: str) -> str:
        return own + path[len(link) :] if path == link or path.startswith(f"{link}/") else path

    sys.prefix, sys.exec_prefix = moved(sys.prefix), moved(sys.exec_prefix)
    sys.executable = moved(sys.executable)
    sys.path[:] = [moved(entry) for entry in sys.path]
