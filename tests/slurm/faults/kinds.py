"""The list of kinds. Each injects and yields, waits for what must come and yields, then clears up."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.slurm.faults.world import World

Fault = Callable[[World, random.Random], Iterator[None]]


@dataclass(frozen=True, slots=True)
class Kind:
    """`alone`: it happens to everybody, so nothing else happens beside it. `is_slow`: it takes a minute or more."""

    name: str
    fault: Fault
    alone: bool
    is_slow: bool = False


KINDS: dict[str, Kind] = {}


def kind(name: str, *, alone: bool = False, is_slow: bool = False) -> Callable[[Fault], Fault]:
    """Enter a fault into the list."""

    def enter(fault: Fault) -> Fault:
        assert name not in KINDS
        KINDS[name] = Kind(name, fault, alone, is_slow)
        return fault

    return enter
