"""Slurm's daemons: start, stop, kill -9."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from tests.support.installation import wait_until
from tests.testbeds.slurm.machine import Machine


@dataclass(slots=True)
class Daemon:
    """One daemon of a machine. `pid_file` is the one it writes; its number is the machine's."""

    machine: Machine
    name: str
    pid_file: str
    argv: tuple[str, ...]

    def pid(self) -> int:
        """0 when it does not run."""
        if not self.machine.is_up:
            return 0
        try:
            pid = int(self.machine.path(self.pid_file).read_text())
            status = self.machine.path(f"/proc/{pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return 0
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        return pid if fields["Name"] == self.name[:15] and not fields["State"].startswith("Z") else 0

    def start(self, timeout_s: float = 20) -> None:
        """Nothing when it runs already."""
        if self.pid():
            return
        said = self.machine.root / "var/log" / f"start-{self.name}.txt"  # a file, for it may keep its output open
        with said.open("wb") as output, self.machine.popen(self.argv, stdout=output, stderr=output) as command:
            if command.wait(timeout_s) != 0:
                raise RuntimeError(f"{self.name} on {self.machine.name} did not start: {said.read_text()}")
        wait_until(self.pid, timeout_s, f"{self.name} on {self.machine.name}")

    def stop(self, timeout_s: float = 20) -> None:
        """As an administrator stops it; waits for its end."""
        self._end(signal.SIGTERM, timeout_s)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL, 10)

    def _end(self, number: int, timeout_s: float) -> None:
        pid = self.pid()
        if not pid:
            return
        self.machine.signal(pid, number)
        wait_until(lambda: self.pid() != pid, timeout_s, f"{self.name} on {self.machine.name}: its end")
