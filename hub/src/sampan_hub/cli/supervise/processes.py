"""One process that we started or took over: wait for its end, signal it. By pidfd, so never a reused pid."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sampan_hub.cli.supervise.launch import ALREADY_RUNNING, record_path
from sampan_hub.cli.supervise.logs import open_log
from sampan_hub.cli.supervise.records import ProcessRecord, is_alive, read_alive
from sampan_hub.settings.paths import StatePaths

LAUNCH = "sampan_hub.cli.supervise.launch"


class Process:
    """A running process; `child` when we are its parent and learn how it ended."""

    def __init__(self, pid: int, pidfd: int, child: subprocess.Popen[bytes] | None) -> None:
        self.pid = pid
        self._pidfd = pidfd
        self._child = child
        self.ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(pidfd, self._on_end)

    def _on_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        if self._child is not None:
            self._child.wait()
        self.ended.set()

    @property
    def is_child(self) -> bool:
        return self._child is not None

    @property
    def was_refused(self) -> bool:
        """Whether it ended because another process of this name runs."""
        return self._child is not None and self._child.returncode == ALREADY_RUNNING

    def describe_end(self) -> str:
        """`exit code 1`, `signal 9 (Killed)`; of a process that was not our child nobody knows."""
        code = None if self._child is None else self._child.returncode
        if code is None:
            return "unknown cause"
        return f"signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"exit code {code}"

    def send(self, number: signal.Signals) -> None:
        """Signals it unless it has ended."""
        if self._pidfd >= 0:
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:
                return

    async def stop(self, patience_s: float) -> None:
        """Asks it to end, and after `patience_s` makes it. Returns when it has ended."""
        self.send(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.ended.wait(), patience_s)
        except TimeoutError:
            self.send(signal.SIGKILL)
            await self.ended.wait()


def take_over(record: ProcessRecord) -> Process | None:
    """The recorded process; None when it has ended. Checked after opening: from then on the pid cannot be reused."""
    try:
        pidfd = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return None
    if not is_alive(record):
        os.close(pidfd)
        return None
    return Process(record.pid, pidfd, None)


def find_running(run: Path, name: str) -> tuple[Process, str] | None:
    """The process of that name that an earlier `sampan up` left, and the orders it was given."""
    record = read_alive(record_path(run, name))
    process = None if record is None else take_over(record)
    return None if record is None or process is None else (process, record.orders)


def is_running(run: Path, name: str) -> bool:
    """Whether a process of that name runs, whoever started it."""
    return read_alive(record_path(run, name)) is not None


def start(paths: StatePaths, name: str, orders: str, argv: Sequence[str], environment: Mapping[str, str]) -> Process:
    """Starts it in a session of its own: Ctrl-C in our terminal is ours to handle, and our end is not its end."""
    output = open_log(paths.log / f"{name}.log")
    try:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", LAUNCH, str(paths.run), name, orders, "--", *argv],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    finally:
        os.close(output)
    return Process(child.pid, os.pidfd_open(child.pid), child)
