"""uv, the installer: found, run with an environment of its own, its sentence kept when it refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sampan_hub.cli.environments.trouble import CannotBuild

UMASK = 0o022
SAID_LINES = 15
FOREIGN = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "CONDA_PREFIX")
"""What would make uv look at another environment than the one it is told."""


def find_uv() -> Path:
    """The uv that was installed with this package, else the one on PATH; raises CannotBuild."""
    own = Path(sys.prefix) / "bin" / "uv"
    found = str(own) if own.exists() else shutil.which("uv")
    if found is None:
        raise CannotBuild(f"uv is missing beside {sys.executable}: run `{sys.executable} -m pip install uv`.")
    return Path(found)


def make_uv_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Indexes and certificates of the site's uv settings count; environments somebody is in by chance do not."""
    kept = {key: value for key, value in inherited.items() if key not in FOREIGN}
    return {**kept, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}


def run_uv(words: Sequence[str | Path], what: str) -> None:
    """Runs `uv WORDS`; raises CannotBuild with the last lines of what uv said."""
    run_tool([find_uv(), *words], what, make_uv_environment(os.environ), Path("/"))


def run_tool(argv: Sequence[str | Path], what: str, environment: Mapping[str, str], folder: Path) -> None:
    """Runs it so that what it makes is readable by everybody; raises CannotBuild saying `what` failed and why."""
    done = subprocess.run(
        [str(word) for word in argv],
        env=dict(environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        umask=UMASK,
        check=False,
    )
    if done.returncode:
        raise CannotBuild(f"{what} failed ({explain_end(done.returncode)}):\n{tail_of(done.stdout)}")


def explain_end(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def tail_of(said: str) -> str:
    """The last lines, without blank ones."""
    return "\n".join([line.rstrip() for line in said.splitlines() if line.strip()][-SAID_LINES:])
