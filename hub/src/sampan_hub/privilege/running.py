"""Running one program of the policy: no shell, a fixed environment, bounded in time, its group ended when late."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

from sampan_hub.privilege.errors import RunAsError
from sampan_hub.privilege.outcomes import Done

TIME_LIMIT_S = 60.0
"""How long one call may take in all, whatever it waits for."""


class Deadline:
    """When the call has to be over."""

    def __init__(self, limit_s: float = TIME_LIMIT_S) -> None:
        self._end = time.monotonic() + limit_s

    @property
    def left_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._end - time.monotonic())


def run_program(argv: Sequence[str], environment: Mapping[str, str], given: bytes, deadline: Deadline) -> Done:
    """How `argv` ended. RunAsError when it cannot be started, or is not done in time: then nothing is known."""
    program = os.path.basename(argv[0])
    try:
        child = subprocess.Popen(
            argv,
            env=environment,
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise RunAsError("installation", f"{argv[0]} cannot be run: {error.strerror}.") from None
    with child:
        try:
            output, errors = child.communicate(given, timeout=deadline.left_s)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise RunAsError("unreachable", f"{program} did not answer in time.") from None
            raise
    return Done(child.returncode, output.decode(errors="replace"), errors.decode(errors="replace"))
