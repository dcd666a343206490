"""A list of names as people keep them: one on a line, blank lines and `#` comments left out. Pure."""

from __future__ import annotations

import re

NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,62}")
"""What a user may be called here: safe in paths, URLs and log lines, and JupyterHub's own spelling (lower case)."""


class RosterError(Exception):
    """Lines that name nobody: all of them, each with its place. Nothing was done."""


def parse_roster(text: str, source: str) -> list[str]:
    """The names in order; raises RosterError naming every invalid and every repeated line."""
    names: dict[str, int] = {}
    faults: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        name = line.partition("#")[0].strip()
        if not name:
            continue
        if not NAME.fullmatch(name):
            faults.append(f"{source}:{number}: {name!r} is no user name (a-z, 0-9 and . _ @ + - are; at most 63)")
        elif name in names:
            faults.append(f"{source}:{number}: {name!r} is already on line {names[name]}")
        else:
            names[name] = number
    if faults:
        raise RosterError("\n".join([*faults, "Nobody was added."]))
    return list(names)
