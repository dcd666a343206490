"""Processes that systemd keeps: it would start again at once what anybody else ends."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from sampan_hub.cli.supervise.arrange import NAMES
from sampan_hub.cli.supervise.launch import record_path
from sampan_hub.cli.supervise.records import read_alive

STOP_TIMEOUT_S = 60
_UNIT = re.compile(r"/([A-Za-z0-9:_.@-]+\.service)$", re.MULTILINE)


class KeptElsewhere(Exception):
    """Only systemd can end these processes for good, and did not: the command that does."""


def parse_unit(cgroups: str) -> str | None:
    """The service that a process belongs to, by its `/proc/PID/cgroup`; None when it belongs to none."""
    found = _UNIT.search(cgroups)
    return None if found is None else found[1]


def find_units(run: Path) -> list[str]:
    """The units of those of our processes that `sampan run` became in one."""
    units = []
    for name in NAMES:
        record = read_alive(record_path(run, name))
        if record is None or record.kept_by != "run":
            continue
        try:
            unit = parse_unit(Path(f"/proc/{record.pid}/cgroup").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
        # In a container, or started by hand in a service's shell, it is somebody else's unit.
        if unit is not None and name in unit:
            units.append(unit)
    return units


def end_units(run: Path) -> None:
    """What systemd keeps has ended; raises KeptElsewhere when systemd did not do it for us."""
    units = find_units(run)
    if not units:
        return
    command = ["systemctl", "stop", *units]
    remedy = f"systemd keeps these processes: run `sudo {' '.join(command)}`."
    if shutil.which(command[0]) is None:
        raise KeptElsewhere(remedy)
    try:
        done = subprocess.run(
            [command[0], "--no-ask-password", *command[1:]], capture_output=True, timeout=STOP_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise KeptElsewhere(f"`{' '.join(command)}` has not ended them within {STOP_TIMEOUT_S} s.") from error
    if done.returncode:
        raise KeptElsewhere(remedy)
