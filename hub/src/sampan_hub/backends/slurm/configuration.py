"""What the cluster's own configuration says, read once. Pure but for `read_configuration`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sampan_hub.backends.base import BackendError
from sampan_hub.backends.slurm.commands import Commands
from sampan_hub.backends.slurm.names import BLOCK

_LINE = re.compile(r"(\w+)\s*=\s*(.*)")


@dataclass(frozen=True, slots=True)
class Configuration:
    """The few facts that decide how jobs are submitted and looked for."""

    has_accounting: bool
    block: int
    """Tasks per array name; 1: no arrays."""


async def read_configuration(commands: Commands) -> Configuration:
    """One question to the controller."""
    return parse_configuration(await commands.run("scontrol", "show", "config"))


async def read_next_number(commands: Commands) -> int | None:
    """The number that the controller gives its next job; None where it does not say."""
    return parse_next_number(await commands.run("scontrol", "show", "config"))


def parse_next_number(text: str) -> int | None:
    number = _found(text).get("NEXT_JOB_ID", "")
    return int(number) if number.isdecimal() else None


def _found(text: str) -> dict[str, str]:
    return {match[1]: match[2].strip() for match in map(_LINE.fullmatch, text.splitlines()) if match}


def parse_configuration(text: str) -> Configuration:
    """From `scontrol show config`; BackendError where it lacks what is looked for."""
    found = _found(text)
    storage, size = found.get("AccountingStorageType"), found.get("MaxArraySize", "")
    if storage is None or not size.isdecimal():
        raise BackendError(
            "scontrol show config lacks AccountingStorageType or MaxArraySize: is it Slurm 22.05 or later?"
        )
    return Configuration(has_accounting=storage.endswith("slurmdbd"), block=max(1, min(BLOCK, int(size))))
