"""`python -m tests.bench`: every measure beside its peer. BENCH_ONLY=NAME runs one, BENCH_REPEAT=N sets repetitions."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
import tempfile
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import table
from tests.bench.peers import versions
from tests.bench.row import Line, Row

NAMES = (
    "notebook_start",
    "cluster_start",
    "adapting",
    "gathering",
    "scaling",
    "burst",
    "hub_kill",
    "idle_cost",
    "api_latency",
)
REPEAT = 7


def measure(name: str, repeat: int) -> Row:
    """Run one module; whatever goes wrong becomes a line that says so."""
    module = importlib.import_module(f"tests.bench.{name}")
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as folder:
        try:
            row: Row = asyncio.run(module.measure(Path(folder), repeat))
        except Exception as error:  # noqa: BLE001 - a row that cannot run says why in the table
            traceback.print_exc()
            row = Row(name, [Line(module.MEASURE, "", problem=f"{type(error).__name__}: {first_line(error)}")])
    row.load_before, row.load_after = load_before, os.getloadavg()[0]
    row.taken_at = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    row.processors = os.cpu_count() or 0
    row.versions = versions()
    return row


def first_line(error: Exception) -> str:
    """A table's cell takes one line."""
    return (str(error).strip().splitlines() or ["no message"])[0].replace("|", "/")[:200]


def main() -> int:
    """Measures, writes CSV after each row, renders the page. 1: a row could not be measured."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what it started is ended also then
    only = os.environ.get("BENCH_ONLY", "")
    repeat = int(os.environ.get("BENCH_REPEAT", REPEAT))
    chosen = tuple(only.split(",")) if only else NAMES
    unknown = set(chosen) - set(NAMES)
    if unknown:
        sys.exit(f"bench: no measure is called {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    failed = False
    for name in chosen:
        begun_s = time.monotonic()
        row = measure(name, repeat)
        table.keep(row)
        table.render(NAMES)
        failed = failed or any(line.problem for line in row.lines)
        print(f"== {name}: {time.monotonic() - begun_s:.0f} s")
        print(table.table([name]), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
