"""Three views compared: what runs (a), what the jobs API says (b), what was asked (c). Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tests.judge.processes import Process


@dataclass(frozen=True, slots=True)
class Verdict:
    """Job keys in each kind of fault; all three empty is the only good verdict."""

    orphans: frozenset[str]
    """Runs, and nobody asked for it."""
    duplicates: frozenset[str]
    """One key twice."""
    false_deaths: frozenset[str]
    """The API says ended while it runs."""

    @property
    def counts(self) -> tuple[int, int, int]:
        return len(self.orphans), len(self.duplicates), len(self.false_deaths)


def judge(running: Iterable[Process], states: Mapping[str, str], asked: frozenset[str]) -> Verdict:
    """`states`: job key -> state by the API. `asked`: keys of the jobs that somebody wants to run now."""
    running = list(running)
    keys = {process.job_id for process in running}
    entries = Counter(process.job_id for process in running if process.entry)
    return Verdict(
        orphans=frozenset(keys - asked),
        duplicates=frozenset(key for key, count in entries.items() if count > 1),
        false_deaths=frozenset(key for key in keys if states.get(key) == "ended"),
    )
