"""How soon a process that ended is started again, and when that is called a crash loop. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FIRST_S = 0.1
LONGEST_S = 30.0
WINDOW_S = 120.0
"""Ends older than this are forgotten."""
LOOP_ENDS = 5
"""This many ends of processes that never got ready, within the window, are a crash loop."""


@dataclass(frozen=True, slots=True)
class End:
    """When a process ended (monotonic seconds), and whether it had been ready before."""

    at_s: float
    was_ready: bool


@dataclass(frozen=True, slots=True)
class Restart:
    delay_s: float
    is_crash_loop: bool


def decide_restart(ends: Sequence[End], now_s: float) -> Restart:
    """At once after a process that worked; ever later after those that never got ready, and then said so."""
    failures = 0
    for end in reversed(ends):
        if end.was_ready or now_s - end.at_s > WINDOW_S:
            break
        failures += 1
    delay_s = 0.0 if failures == 0 else min(LONGEST_S, FIRST_S * 2.0 ** min(failures, 16))
    return Restart(delay_s, failures >= LOOP_ENDS)
