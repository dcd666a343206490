"""The client's wheel and others that go into an environment: found, copied beside what they are installed in."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sampan_hub.cli.environments.trouble import CannotBuild
from sampan_hub.cli.environments.uv import run_uv
from sampan_hub.cli.packaged import CLONE, find_client_source

CLIENT = "sampan"
FOLDER = "wheels"


def name_of(wheel: Path) -> str:
    """The distribution's name, as the wheel's file name has it."""
    return wheel.name.partition("-")[0].lower()


def version_of(wheel: Path) -> str:
    return wheel.name.split("-")[1]


def gather_wheels(given: Sequence[Path], environment: Path) -> list[Path]:
    """Copies of the wheels in the environment's own folder, the client's first; raises CannotBuild.

    The client's is the one given, else it is built from the clone, else it is the one beside the hub's own wheel.
    """
    for wheel in given:
        if wheel.suffix != ".whl" or len(wheel.name.split("-")) < 5:
            raise CannotBuild(f"{wheel} is no wheel: --wheel takes files that `make dist` makes.")
        if not wheel.is_file():
            raise CannotBuild(f"{wheel} is not there: --wheel takes files that `make dist` makes.")
    folder = environment / FOLDER
    folder.mkdir()
    clients = [wheel for wheel in given if name_of(wheel) == CLIENT]
    if len(clients) > 1:
        raise CannotBuild(f"{clients[0].name} and {clients[1].name} are both the client: give one of them.")
    source = None if clients else find_client_source()
    if source is not None:
        words: list[str | Path] = ["build", "--quiet", "--wheel", "--build-constraints", CLONE / "tools" / "build.lock"]
        run_uv([*words, "--out-dir", folder, source], "Building the client's wheel")
        (folder / ".gitignore").unlink(missing_ok=True)
        clients = list(folder.glob("*.whl"))
    elif not clients:
        clients = [find_client_wheel()]
    others = [wheel for wheel in given if name_of(wheel) != CLIENT]
    return [_copy(wheel, folder) for wheel in (*clients, *others)]


def _copy(wheel: Path, folder: Path) -> Path:
    target = folder / wheel.name
    if wheel != target:
        shutil.copyfile(wheel, target)
    return target


def find_client_wheel() -> Path:
    """The client's wheel of the hub's version, in the folder that the hub's wheel was installed from."""
    hub = distribution("sampan-hub")
    origin = json.loads(hub.read_text("direct_url.json") or "{}").get("url", "")
    parts = urlsplit(origin)
    if parts.scheme == "file":
        found = sorted(Path(unquote(parts.path)).parent.glob(f"{CLIENT}-{hub.version}-*.whl"))
        if found:
            return found[0]
    raise CannotBuild(
        f"The client's wheel ({CLIENT}-{hub.version}-….whl, made by `make dist`) is not beside the hub's: "
        "name it with --wheel."
    )


def hash_of(wheel: Path) -> str:
    return hashlib.sha256(wheel.read_bytes()).hexdigest()
