"""Whether everybody on a system can read a path: by the permission bits of all folders that lead to it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

ENTER = stat.S_IXOTH
READ = stat.S_IROTH


def find_barrier(path: Path) -> Path | None:
    """The first folder on the way, or the path itself, that others cannot pass; None when everybody can.

    Links count both as they are spelled and as they resolve. What access lists allow beyond the bits is not seen.
    """
    spelled = Path(os.path.abspath(path))  # noqa: PTH100 - without following links, unlike Path.resolve
    for way in dict.fromkeys((spelled, path.resolve())):
        for folder in reversed(way.parents):
            if not folder.stat().st_mode & ENTER:
                return folder
        mode = way.stat().st_mode
        needed = READ | ENTER if stat.S_ISDIR(mode) else READ
        if mode & needed != needed:
            return way
    return None


def open_to_everybody(root: Path) -> None:
    """Everybody can read the tree and run what its owner can; nobody but the owner can change it.

    Independent of umasks: package managers copy modes from their caches, which may be private.
    """
    for folder, _, files in os.walk(root):
        os.chmod(folder, 0o755)  # noqa: PTH101, S103 - as promised; tens of thousands of files: no object for each
        for name in files:
            file = f"{folder}/{name}"
            mode = os.lstat(file).st_mode
            if stat.S_ISREG(mode):
                wanted = 0o755 if mode & stat.S_IXUSR else 0o644
                if stat.S_IMODE(mode) != wanted:
                    os.chmod(file, wanted)  # noqa: PTH101


def describe_barrier(barrier: Path) -> str:
    """`/root has mode 0700`."""
    return f"{barrier} has mode {stat.S_IMODE(barrier.stat().st_mode):04o}"
