"""A file system that is soon full, for tests of what happens then."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A private file system of this size at `folder`; only where this process may mount."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def may_mount() -> bool:
    return os.geteuid() == 0


def run_as_namespace_root(test: str) -> None:
    """This test once more, where an ordinary user may mount a file system of its own."""
    command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-m", "pytest", "-q", test]
    run = subprocess.run([*command, "-p", "no:cacheprovider"], capture_output=True, text=True, cwd=REPOSITORY)
    assert run.returncode == 0, f"{run.stdout}{run.stderr}\nwithout user namespaces, run this test as root"
