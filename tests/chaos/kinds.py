"""The list of kinds. Each injects and yields, waits for what must come and yields, then clears up."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Generic, TypeVar

from tests.chaos.world import World

AnyWorld = TypeVar("AnyWorld", bound=World[Any, Any])
Fault = Callable[[AnyWorld, random.Random], Iterator[None]]


@dataclass(frozen=True, slots=True)
class Kind(Generic[AnyWorld]):
    """`alone`: it happens to everybody, so nothing else happens beside it. `is_slow`: it takes a minute or more."""

    name: str
    fault: Fault[AnyWorld]
    alone: bool
    is_slow: bool = False


class Kinds(dict[str, Kind[AnyWorld]]):
    """By name."""

    def enter(
        self, name: str, *, alone: bool = False, is_slow: bool = False
    ) -> Callable[[Fault[AnyWorld]], Fault[AnyWorld]]:
        """Enter a fault into the list."""

        def entered(fault: Fault[AnyWorld]) -> Fault[AnyWorld]:
            assert name not in self
            self[name] = Kind(name, fault, alone, is_slow)
            return fault

        return entered

    def of(self, modules: Iterable[ModuleType]) -> list[Kind[AnyWorld]]:
        """In the order of these modules, whichever was imported first: a seed deals the same to everybody."""
        return [kind for module in modules for kind in self.values() if kind.fault.__module__ == module.__name__]

    def named(self, words: str) -> list[Kind[AnyWorld]]:
        """Those whose name has one of these words, separated by commas, in it."""
        return [kind for kind in self.values() if any(word in kind.name for word in words.split(","))]
