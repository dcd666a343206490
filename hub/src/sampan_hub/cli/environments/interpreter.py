"""The Python that an environment is built on: new enough, and readable by everybody who will run it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sampan_hub.cli.environments.readable import describe_barrier, find_barrier
from sampan_hub.cli.environments.trouble import CannotBuild

OLDEST = (3, 11)
PLACE = Path("/usr/bin")
RUN_TIMEOUT_S = 30
_TELL = """
import json, sys, sysconfig
base = getattr(sys, "_base_executable", "") or sys.executable
print(json.dumps([list(sys.version_info[:3]), base, sysconfig.get_path("stdlib")]))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    version: tuple[int, int, int]
    executable: Path
    """The one that is in no virtual environment, by its full name: `python3` may be another one on another node."""
    stdlib: Path

    @property
    def dotted(self) -> str:
        return ".".join(map(str, self.version))


def choose_interpreter(wanted: Path | None) -> Interpreter:
    """The one asked for, else the first of /usr/bin that will do; raises CannotBuild."""
    if wanted is not None:
        return _checked(wanted)
    refused = []
    for candidate in _candidates():
        try:
            return _checked(candidate)
        except CannotBuild as error:
            refused.append(str(error).partition(":")[0])
    oldest = ".".join(map(str, OLDEST))
    why = f" ({'; '.join(refused)})" if refused else ""
    raise CannotBuild(
        f"No Python {oldest} or newer is in {PLACE}{why}: install one there on every node, "
        "or name one that every node has and everybody can read with --python."
    )


def _candidates() -> Iterator[Path]:
    """The system's own first, then the newest."""
    if (PLACE / "python3").exists():
        yield PLACE / "python3"
    numbered = [path for path in PLACE.glob("python3.*") if re.fullmatch(r"python3\.\d+", path.name)]
    yield from sorted(numbered, key=lambda path: int(path.suffix[1:]), reverse=True)


def _checked(python: Path) -> Interpreter:
    interpreter = inspect(python)
    if interpreter.version < OLDEST:
        raise CannotBuild(f"{python} is Python {interpreter.dotted}: name a Python 3.11 or newer with --python.")
    for part in (interpreter.executable, interpreter.stdlib):
        barrier = find_barrier(part)
        if barrier is not None:
            raise CannotBuild(
                f"{python} cannot be read by everybody ({describe_barrier(barrier)}): jobs run as the people "
                "they belong to. Name a Python that every node has and everybody can read with --python."
            )
    return interpreter


def inspect(python: Path) -> Interpreter:
    """What it says of itself; raises CannotBuild when it does not run."""
    try:
        done = subprocess.run(
            [str(python), "-I", "-c", _TELL],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT_S,
            check=True,
        )
        version, base, stdlib = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise CannotBuild(f"{python} does not run ({error}): name a Python 3.11 or newer with --python.") from error
    major, minor, micro = version
    return Interpreter((major, minor, micro), Path(base).resolve(), Path(stdlib))
