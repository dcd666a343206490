"""Lock files that travel with the hub: in the wheel they lie inside the package, in a clone where they are made."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import sampan_hub

IN_PACKAGE = Path(sampan_hub.__file__).parent / "packaged"
CLONE = Path(__file__).resolve().parents[4]
IN_CLONE = MappingProxyType(
    {
        "client.lock": "client/requirements.lock",
        "node.lock": "tools/node.lock",
        "package.json": "hub/proxy/package.json",
        "package-lock.json": "hub/proxy/package-lock.json",
    }
)
"""The same names as in hub/hatch_build.py, which puts them into the wheel."""


def find_packaged(name: str) -> Path:
    """The file; in a clone the clone's own."""
    file = CLONE / IN_CLONE[name]
    return file if file.exists() else IN_PACKAGE / name


def find_client_source() -> Path | None:
    """The client's source, where this package is used from a clone."""
    folder = CLONE / "client"
    return folder if find_packaged("client.lock").is_relative_to(folder) else None
