"""The JupyterLab extension that is committed is the build of the sources that are committed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

LAB = Path(__file__).parents[2] / "client" / "lab"
BUILT = LAB.parent / "src" / "sampan" / "labextensions" / "@sampan" / "lab"
MOST_BYTES = 60_000


def test_the_built_extension_is_of_these_sources() -> None:
    done = subprocess.run([sys.executable, LAB / "build.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_is_built_is_whole_and_small() -> None:
    package = json.loads((BUILT / "package.json").read_text())
    assert package["name"] == "@sampan/lab"
    assert (BUILT / package["jupyterlab"]["_build"]["load"]).is_file()
    files = [path for path in BUILT.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
    assert not [path for path in files if path.suffix == ".map"]


def test_the_lock_names_no_registry() -> None:
    lock = json.loads((LAB / "package-lock.json").read_text())
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]
    assert all("integrity" in package for name, package in lock["packages"].items() if name and not package.get("link"))
