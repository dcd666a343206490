"""`python -m tests.bench.kube`: every measure on a real Kubernetes beside its peer.

BENCH_ONLY=NAME[,NAME] runs some, BENCH_REPEAT=N sets repetitions.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
import time
import traceback
from dataclasses import replace
from datetime import UTC, datetime

from tests.bench import table
from tests.bench.__main__ import first_line
from tests.bench.kube.bed import Bed, open_bed
from tests.bench.kube.images import versions
from tests.bench.row import Line, Row

MEASURES = ("notebook_start", "cluster_start", "idle", "burst")
NAMES = tuple(f"kube_{name}" for name in MEASURES)
REPEAT = 5


def chosen() -> list[str]:
    """What the environment asks for, in the order above."""
    only = os.environ.get("BENCH_ONLY", "")
    names = set(only.split(",")) if only else set(MEASURES)
    if unknown := names - set(MEASURES):
        sys.exit(f"bench: no measure is called {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    return [name for name in MEASURES if name in names]


def measure(name: str, bed: Bed, repeat: int) -> Row:
    """Run one module; whatever goes wrong becomes a line that says so."""
    module = importlib.import_module(f"tests.bench.kube.{name}")
    load_before = os.getloadavg()[0]
    try:
        row: Row = asyncio.run(module.measure(bed, repeat))
    except Exception as error:  # noqa: BLE001 - a row that cannot run says why in the table
        traceback.print_exc()
        row = Row(name, [Line(module.MEASURE, "", problem=f"{type(error).__name__}: {first_line(error)}")])
    row = replace(row, name=f"kube_{name}")
    row.load_before, row.load_after = load_before, os.getloadavg()[0]
    row.taken_at = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    row.processors = os.cpu_count() or 0
    row.versions = versions(bed.kube)
    return row


def main() -> int:
    """Measures, writes CSV after each row, renders the page. 1: a row could not be measured."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what it started is ended also then
    repeat = int(os.environ.get("BENCH_REPEAT", REPEAT))
    names = chosen()
    failed = False
    with open_bed() as bed:
        for name in names:
            begun_s = time.monotonic()
            row = measure(name, bed, repeat)
            table.keep(row)
            table.render(NAMES, "bench-kube")
            failed = failed or any(line.problem for line in row.lines)
            print(f"== {row.name}: {time.monotonic() - begun_s:.0f} s")
            print(table.table([row.name], "bench-kube"), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
