"""Builds the JupyterLab extension into the client: `build.py`, or `build.py --check`. Standard library only.

What is built is committed, so that nobody who installs Sampan needs node. Beside it stands a digest of what it was
built from; `--check` compares that with the sources here. Building needs node >= 20.19, npm and the user environment
of this clone (`make install`).
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILT = HERE.parent / "src" / "sampan" / "labextensions" / "@sampan" / "lab"
RECORD = BUILT / "sources.sha256"


def digest_sources() -> str:
    """One name for everything that decides what the build is."""
    named = [HERE / name for name in ("package.json", "package-lock.json", "tsconfig.json")]
    digest = hashlib.sha256()
    for path in sorted([*named, *(HERE / "src").rglob("*.ts"), *(HERE / "tests").rglob("*.mjs")]):
        digest.update(f"{path.relative_to(HERE).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def build() -> None:
    """Install, compile, test, bundle, record. Raises CalledProcessError where a step fails."""
    # Not `npm ci`: that refuses a lock without the bundler's binaries for all the platforms nobody builds on.
    run("npm", "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund")
    shutil.rmtree(HERE / "build", ignore_errors=True)
    run("npm", "run", "--silent", "build")
    run("npm", "run", "--silent", "test")
    shutil.rmtree(BUILT, ignore_errors=True)
    run(str(ROOT / ".venv" / "user" / "bin" / "jupyter-builder"), "build", ".")
    RECORD.write_text(f"{digest_sources()}\n")


def run(*argv: str) -> None:
    subprocess.run(argv, cwd=HERE, check=True)


def main(words: list[str]) -> int:
    if words == ["--check"]:
        if RECORD.exists() and RECORD.read_text().strip() == digest_sources():
            return 0
        print(f"{BUILT} was not built from the sources in {HERE}: run `make lab` and commit it", file=sys.stderr)
        return 1
    build()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
