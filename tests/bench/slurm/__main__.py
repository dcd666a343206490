"""`python -m tests.bench.slurm`: every measure on a real Slurm beside its peer, with Slurm's own delay and without.

BENCH_ONLY=NAME[,NAME] runs some, BENCH_PROFILE=stock|delay0 one profile, BENCH_REPEAT=N sets repetitions.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import table
from tests.bench.__main__ import first_line
from tests.bench.peers import versions_in
from tests.bench.row import Line, Row
from tests.bench.slurm import environment
from tests.bench.slurm.bed import WORDS, Bed, open_bed

BOTH = ("notebook_start", "cluster_start", "adapting")
"""Measured on both profiles."""
WIDE = ("restart", "scaling", "idle")
"""On the machines with room for a thousand jobs that only pretend."""
PLAN = (*((name, profile) for profile in ("stock", "delay0") for name in BOTH), *((name, "wide") for name in WIDE))
NAMES = tuple(f"slurm_{name}_{profile}" for name, profile in PLAN)
REPEAT = 5
PEERS = ("jupyterhub", "jupyterlab", "distributed", "batchspawner", "dask-jobqueue", "dask-gateway-server")


def chosen() -> list[tuple[str, str]]:
    """What the environment asks for, in the order of the plan."""
    only = os.environ.get("BENCH_ONLY", "")
    names = set(only.split(",")) if only else {name for name, _ in PLAN}
    profile = os.environ.get("BENCH_PROFILE", "")
    unknown = names - {name for name, _ in PLAN}
    if unknown or profile not in ("", *WORDS):
        sys.exit(f"bench: measures are {', '.join((*BOTH, *WIDE))}; profiles are {', '.join(WORDS)}")
    return [(name, place) for name, place in PLAN if name in names and profile in ("", place)]


def measure(name: str, bed: Bed, repeat: int) -> Row:
    """Run one module; whatever goes wrong becomes a line that says so."""
    module = importlib.import_module(f"tests.bench.slurm.{name}")
    load_before = os.getloadavg()[0]
    try:
        row: Row = asyncio.run(module.measure(bed, repeat))
    except Exception as error:  # noqa: BLE001 - a row that cannot run says why in the table
        traceback.print_exc()
        problem = f"{type(error).__name__}: {first_line(error)}"
        row = Row(name, [Line(f"{module.MEASURE}, {bed.words}", "", problem=problem)])
    row = replace(row, name=f"slurm_{name}_{bed.profile}")
    row.load_before, row.load_after = load_before, os.getloadavg()[0]
    row.taken_at = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    row.processors = os.cpu_count() or 0
    row.versions = {
        "Slurm": bed.cluster.ask("sinfo", "--version").split()[-1],
        **versions_in(Path(sys.executable), "sampan-hub"),
        **versions_in(environment.python(), *PEERS),
    }
    return row


def main() -> int:
    """Measures, writes CSV after each row, renders the page. 1: a row could not be measured."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what it started is ended also then
    repeat = int(os.environ.get("BENCH_REPEAT", REPEAT))
    plan = chosen()
    failed = False
    for profile in dict.fromkeys(place for _, place in plan):
        with tempfile.TemporaryDirectory(prefix="bench-slurm-") as folder, open_bed(profile, Path(folder)) as bed:
            for name in (name for name, place in plan if place == profile):
                begun_s = time.monotonic()
                row = measure(name, bed, repeat)
                table.keep(row)
                table.render(NAMES, "bench-slurm")
                failed = failed or any(line.problem for line in row.lines)
                print(f"== {row.name}: {time.monotonic() - begun_s:.0f} s")
                print(table.table([row.name], "bench-slurm"), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
