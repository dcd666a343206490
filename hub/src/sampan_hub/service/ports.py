"""The ports this installation itself uses, as `sampan up` settled them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class OwnPorts:
    """`hub` None: nobody settled ports (the service was started by itself)."""

    all: frozenset[int]
    hub: int | None


def read_own_ports(file: Path, public: int, service: int) -> OwnPorts:
    """All ports no job may claim: the public one, this service's, and those kept in `run/ports.json`."""
    try:
        kept = json.loads(file.read_text())
    except FileNotFoundError:
        kept = {}
    numbers = {name: port for name, port in kept.items() if isinstance(port, int)}
    return OwnPorts(frozenset({public, service, *numbers.values()}), numbers.get("hub"))
