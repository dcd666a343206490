"""Which faults, in which order (a seed says it), and what came of them."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.slurm.faults import to_all, to_jobs
from tests.slurm.faults.kinds import KINDS, Kind
from tests.slurm.faults.world import World

__all__ = ["Outcome", "make_blocks", "render_table", "run_blocks", "to_all", "to_jobs"]

AT_ONCE = 5
"""Faults to single jobs beside each other: there is room for sixteen jobs in all."""
BLOCK = 15


@dataclass(frozen=True, slots=True)
class Outcome:
    """`recovery_s`: from the injection's end until all was as it must be. `error`: why it never was."""

    kind: str
    recovery_s: float
    error: str = ""


def choose_kinds(count: int, choose: random.Random) -> list[Kind]:
    """Every kind at least once."""
    kinds = list(KINDS.values())
    quick = [kind for kind in kinds if kind.most is None]
    chosen = [*kinds, *(choose.choice(quick) for _ in range(count - len(kinds)))]
    slow = [kind for kind in kinds if kind.most is not None]
    for place, kind in enumerate(itertools.chain.from_iterable([each] * ((each.most or 1) - 1) for each in slow)):
        if count >= 10 * len(kinds) // 2:  # a long run has time for the slow ones again
            chosen[-1 - place] = kind
    choose.shuffle(chosen)
    return chosen


def make_blocks(count: int, seed: int) -> list[list[Kind]]:
    """Blocks of faults that may happen beside each other; what happens alone is a block of its own."""
    choose = random.Random(seed)
    chosen = choose_kinds(count, choose)
    # What takes longest begins first.
    together = sorted((kind for kind in chosen if not kind.alone), key=lambda kind: kind.most is None)
    lanes = [together[at::5] for at in range(5)] if count > 100 else [together]
    blocks = [lane for lane in lanes if lane] + [[kind] for kind in chosen if kind.alone]
    choose.shuffle(blocks)
    return blocks


def run_blocks(world: World, blocks: Sequence[Sequence[Kind]], seed: int) -> Iterator[Outcome]:
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
            yield Outcome(" + ".join(sorted({kind.name for kind in block})), 0, f"afterwards: {error}")
            world.expect_loss(*world.standing)
            world.stand()


def run_fault(world: World, kind: Kind, choose: random.Random) -> Outcome:
    begun = time.monotonic()
    recovery_s = 0.0
    try:
        steps = kind.fault(world, choose)
        next(steps)
        injected = time.monotonic()
        is_over = next(steps, True)
        recovery_s = time.monotonic() - injected
        if not is_over:
            next(steps, None)
    except Exception as error:  # noqa: BLE001 - whatever failed is told in the table, and the others go on
        return Outcome(kind.name, recovery_s, f"{type(error).__name__}: {error}")
    print(
        f"{time.strftime('%H:%M:%S')} {kind.name}: {recovery_s:.1f} s of {time.monotonic() - begun:.1f} s", flush=True
    )
    return Outcome(kind.name, recovery_s)


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
