"""The installed Slurm's own manual against our tables."""

from __future__ import annotations

import re
import shutil
import subprocess

from sampan_hub.backends.slurm.states import COMPACT


def test_states_of_the_manual_are_in_the_table() -> None:
    """The installed squeue's own manual, so that a new version is noticed."""
    manual = subprocess.run([shutil.which("man") or "man", "-P", "cat", "squeue"], capture_output=True, text=True)
    section = manual.stdout.partition("JOB STATE CODES\n")[2].partition("\nPERFORMANCE")[0]
    named = dict(re.findall(r"^ {7}([A-Z]{1,3}) +([A-Z_]{3,})", section, re.MULTILINE))
    assert len(named) >= 20, "the manual could not be read"
    assert {compact: COMPACT.get(compact) for compact in named} == named
