"""The lock of an environment: ours, or ours and a site's own requirements resolved together, every file by its hash."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sampan_hub.cli.environments.interpreter import Interpreter
from sampan_hub.cli.environments.uv import run_uv
from sampan_hub.cli.environments.wheels import hash_of, name_of
from sampan_hub.cli.packaged import find_packaged

NAME = "requirements.lock"


@dataclass(frozen=True, slots=True)
class Source:
    """Where packages come from."""

    find_links: Path | None = None
    """A folder of wheels, and nothing else. None: the index of uv's settings."""

    @property
    def options(self) -> list[str | Path]:
        return [] if self.find_links is None else ["--no-index", "--find-links", self.find_links]


def write_lock(
    folder: Path, python: Interpreter, wheels: Sequence[Path], requirements: Path | None, source: Source
) -> Path:
    """`requirements.lock` in the environment's folder; raises CannotBuild with uv's sentence about a conflict.

    Ours is the beginning of it either way: its versions are requirements, and its hashes are kept where they are known.
    """
    lock = folder / NAME
    shutil.copyfile(find_packaged("client.lock"), lock)
    client, *others = wheels
    if requirements is not None or others:
        own = folder / "wheels" / "requirements.in"
        own.write_text("".join(f"{name_of(wheel)} @ {wheel.as_uri()}\n" for wheel in others))
        inputs = [find_packaged("client.lock"), own, *([requirements] if requirements is not None else [])]
        words: list[str | Path] = ["pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate"]
        words += ["--python", python.executable, *source.options, "--output-file", lock, *inputs]
        run_uv(words, "Resolving the requirements")
        own.unlink()
    with lock.open("a") as file:
        file.write(f"{name_of(client)} @ {client.as_uri()} \\\n    --hash=sha256:{hash_of(client)}\n")
    return lock
