"""The peers' environment on the machines' shared storage, built where it will be used and kept between runs.

The versions are those of tests/bench/requirements.lock, byte-compiled like the environment of ours.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from tests.slurm.installation.build import CACHE, CLONE, PYTHON, UV, Built, run

KEPT = CACHE.parent / "bench"
ENVIRONMENT = Path("/shared/bench/env")
LOCK = CLONE / "tests/bench/requirements.lock"
MOCK = Path("/shared/mock")
MOCK_JOB = Path(__file__).with_name("mock_job.py")


def build() -> Path:
    """The folder that is `/shared/bench` on the machines."""
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    mark = KEPT / "lock.sha256"
    if not mark.exists() or mark.read_text() != wanted:
        shutil.rmtree(KEPT, ignore_errors=True)
        for name in ("opt", "shared"):
            (KEPT / name).mkdir(parents=True)
        there = Built(KEPT / "opt", KEPT / "shared")
        run([UV, "venv", "--quiet", "--python", PYTHON, ENVIRONMENT], there)
        install = [UV, "pip", "install", "--quiet", "--compile-bytecode", "--link-mode", "copy"]
        run([*install, "--python", ENVIRONMENT / "bin/python", "--require-hashes", "-r", LOCK], there)
        subprocess.run(["chmod", "-R", "go+rX", KEPT / "shared"], check=True)
        mark.write_text(wanted)
    return KEPT / "shared/bench"


def python() -> Path:
    """The environment's interpreter, from the computer."""
    return build() / "env/bin/python"


def make_mock_environment(shared: Path) -> None:
    """An environment at `MOCK` whose notebooks and workers claim their job, show who they are, and then sleep."""
    root = shared / MOCK.name
    package = root / "lib/python3.11/site-packages/sampan"
    package.mkdir(parents=True)
    (root / "bin").mkdir()
    (root / "bin/python").symlink_to(PYTHON)
    (root / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    (package / "__init__.py").write_text("")
    for name in ("notebook", "worker"):
        shutil.copyfile(MOCK_JOB, package / f"{name}.py")
    subprocess.run(["chmod", "-R", "go+rX", root], check=True)
