"""What one measure found: samples side by side with the peer's, the aim, and whether it was met."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sample:
    """Repetitions of one figure."""

    label: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)


@dataclass(frozen=True, slots=True)
class Aim:
    """`at most` (or `at least`) so much: of the peer's median where `times` is given, else of the unit."""

    limit: float
    times_peer: bool = False
    at_least: bool = False

    def is_met(self, ours: Sample, peer: Sample | None) -> bool | None:
        """None where there is no peer to compare with."""
        if self.times_peer and (peer is None or peer.median == 0):
            return None
        figure = ours.median / peer.median if self.times_peer and peer is not None else ours.median
        return figure >= self.limit if self.at_least else figure <= self.limit

    def text(self, unit: str) -> str:
        sign = "≥" if self.at_least else "≤"
        return f"{sign} {self.limit:g} ×" if self.times_peer else f"{sign} {self.limit:g} {unit}".rstrip()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table. `problem`: why there is no figure."""

    measure: str
    unit: str
    ours: Sample | None = None
    peer: Sample | None = None
    aim: Aim | None = None
    problem: str = ""

    @property
    def verdict(self) -> str:
        if self.problem:
            return f"not measured: {self.problem}"
        met = self.aim.is_met(self.ours, self.peer) if self.aim and self.ours else None
        return {True: "met", False: "**not met**", None: "–"}[met]


@dataclass(slots=True)
class Row:
    """Everything that one module of this package measures."""

    name: str
    lines: list[Line]
    versions: dict[str, str] = field(default_factory=dict)
    load_before: float = 0.0
    load_after: float = 0.0
    taken_at: str = ""
    processors: int = 0
    note: str = ""


class Recorder:
    """Collects values by label while measures alternate."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def add(self, label: str, value: float) -> None:
        self._values.setdefault(label, []).append(value)

    def sample(self, label: str) -> Sample | None:
        values = self._values.get(label)
        return Sample(label, tuple(values)) if values else None
