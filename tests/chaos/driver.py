"""Which faults, in which order (a seed says it), and what came of them."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.chaos.kinds import AnyWorld, Kind

AT_ONCE = 5
"""Faults to single jobs beside each other."""
LONG = 100
LANES = 5
"""Into so many blocks a long run's faults to single jobs are dealt."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`recovery_s`: from the injection's end until all was as it must be. `error`: why it never was."""

    kind: str
    recovery_s: float
    error: str = ""


def choose_kinds(kinds: Collection[Kind[AnyWorld]], count: int, choose: random.Random) -> list[Kind[AnyWorld]]:
    """Every kind once, in a long run twice or more; then rather those of which several go on at a time."""
    chosen = list(kinds)
    if count > LONG:
        chosen = [kind for kind in chosen for _ in range(2 if kind.alone else 3)]
    quick = [kind for kind in kinds if not kind.is_slow]
    weights = [1 if kind.alone else 6 for kind in quick]
    return [*chosen, *choose.choices(quick, weights, k=max(0, count - len(chosen)))]


def make_blocks(kinds: Collection[Kind[AnyWorld]], count: int, seed: int) -> list[list[Kind[AnyWorld]]]:
    """Blocks of faults that may happen beside each other; what happens alone is a block of its own."""
    choose = random.Random(seed)
    chosen = choose_kinds(kinds, count, choose)
    choose.shuffle(chosen)
    blocks = [*_lanes(chosen, LANES if count > LONG else 1), *([kind] for kind in chosen if kind.alone)]
    choose.shuffle(blocks)
    return blocks


def only(kinds: Collection[Kind[AnyWorld]]) -> list[list[Kind[AnyWorld]]]:
    """These once, for who looks at single ones."""
    return [*_lanes(kinds, 1), *([kind] for kind in kinds if kind.alone)]


def _lanes(chosen: Collection[Kind[AnyWorld]], number: int) -> list[list[Kind[AnyWorld]]]:
    # What takes longest begins first.
    together = sorted((kind for kind in chosen if not kind.alone), key=lambda kind: not kind.is_slow)
    return [lane for at in range(number) if (lane := together[at::number])]


def run_blocks(world: AnyWorld, blocks: Sequence[Sequence[Kind[AnyWorld]]], seed: int) -> Iterator[Outcome]:
    """Every fault, and after each block the invariants. Goes on after a failure, which is an outcome."""
    numbers = itertools.count()
    for block in blocks:
        jobs = [(kind, random.Random(f"{seed}-{next(numbers)}")) for kind in block]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            yield from pool.map(lambda job: run_fault(world, *job), jobs)
        try:
            world.check()
            world.stand()
        except (AssertionError, TimeoutError) as error:
            names = " + ".join(sorted({kind.name for kind in block}))
            tell(f"after {names}: {error}")
            yield Outcome(f"after {names}", 0, str(error))
            world.expect_loss(*world.standing)
            world.stand()


def run_fault(world: AnyWorld, kind: Kind[AnyWorld], choose: random.Random) -> Outcome:
    recovery_s, error = 0.0, ""
    begun = time.monotonic()
    try:
        steps = kind.fault(world, choose)
        next(steps)
        injected = time.monotonic()
        is_over = next(steps, True)
        recovery_s = time.monotonic() - injected
        if not is_over:
            next(steps, None)
    except Exception as failure:  # noqa: BLE001 - whatever failed is told in the table, and the others go on
        error = f"{type(failure).__name__}: {failure}"
    tell(f"{kind.name}: {recovery_s:.1f} s of {time.monotonic() - begun:.1f} s {error}")
    return Outcome(kind.name, recovery_s, error)


def tell(text: str) -> None:
    """Long runs are watched."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def render_table(seed: int, outcomes: Sequence[Outcome]) -> str:
    """By kind: how many were injected, how many passed, the slowest recovery."""
    by_kind: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_kind[outcome.kind].append(outcome)
    lines = [f"seed {seed}", "| kind | injected | passed | slowest recovery |", "|---|---|---|---|"]
    for name, some in sorted(by_kind.items()):
        passed = Counter(not outcome.error for outcome in some)[True]
        slowest = max((outcome.recovery_s for outcome in some if not outcome.error), default=0.0)
        lines.append(f"| {name} | {len(some)} | {passed} | {slowest:.1f} s |")
    total = sum(1 for outcome in outcomes if not outcome.error)
    lines.append(f"| all | {len(outcomes)} | {total} | |")
    return "\n".join(lines)
