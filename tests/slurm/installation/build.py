"""What is installed on the machines, made from this clone's wheels and kept between runs.

Everything is built at the path where it will be used (`elsewhere.sh`), because environments know their own path. What
takes minutes, the packages of the lock files, is made anew when a lock or the builder changes; our own two wheels,
which change all the time, when they do.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CLONE = Path(__file__).parents[3]
HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sampan-testbed" / "installed"
PYTHON = "/usr/bin/python3.11"
PREFIX = Path("/opt/sampan")
ENVIRONMENT = Path("/shared/sampan/env")
UV = Path(sys.executable).with_name("uv")
BUILD_TIMEOUT_S = 900


@dataclass(frozen=True, slots=True)
class Built:
    """Folders of the computer that hold what the machines have at /opt and /shared."""

    opt: Path
    shared: Path


@functools.cache
def build() -> Built:
    """Everything as the clone said when this run first asked; raises RuntimeError with what a tool said."""
    built = Built(CACHE / "opt", CACHE / "shared")
    CACHE.mkdir(parents=True, exist_ok=True)
    wheels = _make_wheels(CACHE / "wheels.new")
    locks = _hash(CLONE / "hub/requirements.lock", CLONE / "client/requirements.lock", *_builder())
    contents = _hash(*wheels)
    if _read(CACHE / "locks") != locks:
        _start_over(built)
        _keep(wheels)
        _install_everything(built)
        (CACHE / "locks").write_text(locks)
    elif _read(CACHE / "wheels.sha256") != contents:
        _keep(wheels)
        _renew_ours(built)
    (CACHE / "wheels.sha256").write_text(contents)
    return built


def _builder() -> Iterator[Path]:
    yield from sorted((CLONE / "hub/src/sampan_hub/cli/environments").glob("*.py"))
    yield CLONE / "hub/proxy/package-lock.json"
    yield Path(__file__)


def _make_wheels(folder: Path) -> list[Path]:
    """The client's and the hub's, as `make dist` makes them."""
    shutil.rmtree(folder, ignore_errors=True)
    for package in ("hub", "client"):
        words = ["build", "--quiet", "--wheel", "--build-constraints", CLONE / "tools/build.lock"]
        run([UV, *words, "--out-dir", folder, CLONE / package])
    return sorted(folder.glob("*.whl"))


def _keep(wheels: list[Path]) -> None:
    """The wheels where the builds find them: below /shared, as an administrator may keep them."""
    folder = CACHE / "shared/sampan/wheels"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for wheel in wheels:
        shutil.copyfile(wheel, folder / wheel.name)


def _start_over(built: Built) -> None:
    (CACHE / "locks").unlink(missing_ok=True)
    for folder in (built.opt, built.shared):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()


def _install_everything(built: Built) -> None:
    run([UV, "venv", "--quiet", "--python", PYTHON, PREFIX], built)
    _install(built, PREFIX, "--require-hashes", "-r", CLONE / "hub/requirements.lock")
    _install(built, PREFIX, "--no-deps", *_wheels("sampan_hub"))
    run([PREFIX / "bin/sampan", "proxy", "install"], built)
    run([PREFIX / "bin/sampan", "env", "create", ENVIRONMENT, "--python", PYTHON], built)


def _renew_ours(built: Built) -> None:
    _install(built, PREFIX, "--no-deps", "--reinstall", *_wheels("sampan_hub"))
    _install(built, ENVIRONMENT, "--no-deps", "--reinstall", *_wheels("sampan"))


def _install(built: Built, prefix: Path, *what: str | Path) -> None:
    words = ["pip", "install", "--quiet", "--compile-bytecode", "--link-mode", "copy"]
    run([UV, *words, "--python", prefix / "bin/python", *what], built)
    run(["chmod", "-R", "go+rX", f"{prefix}/"], built)  # a cache may have been filled under another umask


def _wheels(name: str) -> list[Path]:
    found = list((CACHE / "shared/sampan/wheels").glob(f"{name}-*.whl"))
    return [Path("/shared/sampan/wheels", wheel.name) for wheel in found]


def run(argv: list[str | Path], at: Built | None = None) -> None:
    """A command here, or where /opt and /shared are those of the machines."""
    apart = ["unshare", "--mount", "--propagation", "private", "--"]
    before = [] if at is None else [*apart, HERE / "elsewhere.sh", at.opt, at.shared]
    done = subprocess.run(
        [str(word) for word in (*before, *argv)],
        env={**os.environ, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "UV_NO_CONFIG": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        umask=0o022,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        said = "\n".join(done.stdout.splitlines()[-20:])
        raise RuntimeError(f"{' '.join(map(str, argv))} ended with {done.returncode}:\n{said}")


def _hash(*files: Path) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""
