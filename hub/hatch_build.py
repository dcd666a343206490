"""Puts into the wheel what `sampan env create` and `sampan proxy install` install by: the lock files of the clone.

They lie outside this package's source. A source distribution carries copies, so that a wheel is the same from either.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

IN_CLONE = {
    "client.lock": "../client/requirements.lock",
    "node.lock": "../tools/node.lock",
    "package.json": "proxy/package.json",
    "package-lock.json": "proxy/package-lock.json",
}
COPIES = "packaged"


class LockFiles(BuildHookInterface[Any]):
    """An editable installation finds the files in its clone and needs no copies."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        target = COPIES if self.target_name == "sdist" else f"sampan_hub/{COPIES}"
        for name, place in IN_CLONE.items():
            copy = Path(self.root, COPIES, name)
            source = copy if copy.exists() else Path(self.root, place)
            build_data["force_include"][str(source)] = f"{target}/{name}"
