"""Builds one version of an environment and switches to it; what fails on the way leaves nothing behind."""

from __future__ import annotations

import json
import os
import py_compile
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sampan_hub.cli.environments import staying, versions
from sampan_hub.cli.environments.interpreter import Interpreter, choose_interpreter
from sampan_hub.cli.environments.locking import Source, write_lock
from sampan_hub.cli.environments.readable import describe_barrier, find_barrier, open_to_everybody
from sampan_hub.cli.environments.trouble import CannotBuild
from sampan_hub.cli.environments.uv import run_uv, tail_of
from sampan_hub.cli.environments.wheels import gather_wheels, version_of

NOBODY = 65534
TRY_TIMEOUT_S = 180
TOLD = ("sampan", "jupyterhub", "jupyterlab", "dask", "distributed", "ipykernel")
_TRY = """
import importlib, json, sys
from importlib.metadata import version
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps({name: version(name) for name in sys.argv[1:]}))
"""


@dataclass(frozen=True, slots=True)
class Order:
    """What to build, all paths absolute."""

    path: Path
    wheels: Sequence[Path] = ()
    requirements: Path | None = None
    python: Path | None = None
    source: Source = field(default_factory=Source)


def build(order: Order, say: Callable[[str], None]) -> Path:
    """The folder of the new version, which PATH leads to now; raises CannotBuild, and then PATH is as it was."""
    python = choose_interpreter(order.python)
    _prepare_place(order.path, say)
    with versions.locked(order.path):
        versions.read_linked(order.path)
        for half in versions.sweep(order.path):
            say(f"removed {half}, a build that did not come to its end")
        folder = versions.begin(order.path)
        try:
            mark = _fill(folder, order, python, say)
            versions.finish(folder, mark)
            versions.switch(order.path, folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return folder


def _prepare_place(path: Path, say: Callable[[str], None]) -> None:
    """The folder that PATH lies in is there; said when people cannot enter it."""
    for folder in reversed([parent for parent in path.parents if not parent.exists()]):
        folder.mkdir()
        folder.chmod(0o755)
    barrier = find_barrier(path.parent)
    if barrier is not None:
        say(f"warning: not everybody can read {path.parent} ({describe_barrier(barrier)}): only who can, can use this")


def _fill(folder: Path, order: Order, python: Interpreter, say: Callable[[str], None]) -> versions.Mark:
    say(f"building {folder} on Python {python.dotted} ({python.executable})")
    wheels = gather_wheels(order.wheels, folder)
    lock = write_lock(folder, python, wheels, order.requirements, order.source)
    own_python = folder / "bin" / "python"
    words: list[str | Path] = [
        "venv",
        "--quiet",
        "--allow-existing",
        "--no-project",
        "--python",
        python.executable,
        folder,
    ]
    run_uv(words, "Making the environment")
    words = ["pip", "install", "--quiet", "--python", own_python, "--require-hashes", "--compile-bytecode"]
    run_uv([*words, "--link-mode", "copy", *order.source.options, "-r", lock], "Installing the packages")
    _add_staying(folder)
    open_to_everybody(folder)
    packages = _try(own_python)
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    return versions.Mark(made_at, version_of(wheels[0]), python.dotted, str(python.executable), packages)


def _add_staying(folder: Path) -> None:
    (packages,) = folder.glob("lib/python3.*/site-packages")
    shutil.copyfile(staying.__file__, packages / f"{staying.MODULE}.py")
    (packages / f"{staying.MODULE}.pth").write_text(staying.PTH)
    py_compile.compile(str(packages / f"{staying.MODULE}.py"), doraise=True)


def _try(python: Path) -> dict[str, str]:
    """What notebooks and workers are made of can be imported, as root by somebody who may do nothing; its versions."""
    as_nobody = os.geteuid() == 0 and find_barrier(python) is None
    try:
        done = subprocess.run(
            [str(python), "-I", "-B", "-c", _TRY, *TOLD],
            env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TRY_TIMEOUT_S,
            check=False,
            user=NOBODY if as_nobody else None,
            group=NOBODY if as_nobody else None,
            extra_groups=() if as_nobody else None,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotBuild(f"What was installed does not run: {error}") from error
    if done.returncode:
        raise CannotBuild(f"What was installed does not run:\n{tail_of(done.stderr)}")
    packages: dict[str, str] = json.loads(done.stdout)
    return packages
