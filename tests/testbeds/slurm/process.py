"""A command inside a machine, as seen from outside of it."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.support.installation import wait_until


class Command(subprocess.Popen[str]):
    """`Popen` of a command that `nsenter` runs: signals reach the command, its end is ours.

    `kill()` ends its whole process group, so that nothing keeps the pipes open.
    """

    def inner_pid(self) -> int:
        """The command's own process, as the computer numbers it."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")

        def first() -> int:
            if self.poll() is not None:
                raise ProcessLookupError(f"{self.args!r} has ended with {self.returncode}")
            return int((children.read_text().split() or ["0"])[0])

        return int(wait_until(first, 5, f"{self.args!r} in its machine"))

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.inner_pid(), sig)

    def kill(self) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)


def run_here(argv: list[str], *, input_text: str | None = None, timeout_s: float = 30) -> str:
    """A command on the computer itself; its output. What it said is in the error when it fails."""
    done = subprocess.run(
        argv,
        input=input_text,
        stdin=subprocess.DEVNULL if input_text is None else None,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{argv} ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
