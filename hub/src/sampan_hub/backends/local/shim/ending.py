"""Why a job ended, from what its keeper saw. Pure."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ending:
    """The record of an end; `code` and `signal` are None where nobody could see them."""

    code: int | None
    signal: int | None
    reason_code: str
    reason_text: str
    peak_memory_bytes: int | None = None
    out_of_memory: bool = False

    def as_record(self, at: float | None = None) -> dict[str, Any]:
        return {
            "at": time.time() if at is None else at,
            "code": self.code,
            "signal": self.signal,
            "peak_memory_bytes": self.peak_memory_bytes,
            "oom": self.out_of_memory,
            "reason": {"code": self.reason_code, "text": self.reason_text},
        }


def without_start(reason_code: str, reason_text: str) -> Ending:
    """The end of a job whose program never ran, or of which nothing more is known."""
    return Ending(None, None, reason_code, reason_text)


NEVER_STARTED = without_start("stopped", "It was stopped before it started.")
REBOOTED = without_start("reboot", "The machine was restarted while it ran.")
UNSEEN = without_start("keeper-lost", "It ended while its keeper process was gone, so nobody saw its exit code.")


def describe_end(
    *,
    status: int | None,
    cancelled: bool,
    terminated: bool,
    failure: str,
    out_of_memory: bool,
    peak_memory_bytes: int,
) -> Ending:
    """One closed set of reasons, the most telling first."""
    if failure:
        return without_start("cannot-start", f"Its program could not be started: {failure}.")
    exit_code = None if status is None else os.waitstatus_to_exitcode(status)
    code = exit_code if exit_code is not None and exit_code >= 0 else None
    number = -exit_code if exit_code is not None and exit_code < 0 else None
    reason_code, reason_text = _reason(code, number, cancelled, terminated, out_of_memory)
    return Ending(code, number, reason_code, reason_text, peak_memory_bytes, out_of_memory)


def _reason(
    code: int | None, number: int | None, cancelled: bool, terminated: bool, out_of_memory: bool
) -> tuple[str, str]:
    if out_of_memory:
        return "out-of-memory", "The system ended it because it used more memory than its size has."
    if cancelled:
        return "stopped", "It was stopped as asked."
    if terminated:
        return "keeper-terminated", "Its keeper process was asked to end, as happens when the machine shuts down."
    if number == signal.SIGKILL:
        return "killed", "It was killed (signal 9): by hand, or by the system because memory ran out."
    if number is not None:
        return "signal", f"It was ended by signal {number} ({_name(number)})."
    if code:
        return "exited", f"It ended with exit code {code}."
    return "completed", "It ended by itself with exit code 0."


def _name(number: int) -> str:
    return signal.strsignal(number) or "unknown"
