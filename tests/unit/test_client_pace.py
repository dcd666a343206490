"""Idle schedulers and workers look at themselves seldom, unless somebody wants it otherwise."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import dask, distributed
from sampan.pace import rest_when_idle
stock = dask.config.get("distributed.worker.profile.interval")
dask.config.set({"distributed.admin.tick.interval": "33ms"})  # as a person's own settings
rest_when_idle()
assert dask.config.get("distributed.admin.tick.interval") == "33ms"
assert stock == "10ms", stock
assert dask.config.get("distributed.worker.profile.interval") == "100ms"
"""


def test_a_persons_own_periods_hold() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True)
