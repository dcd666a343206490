"""How both ways in read their request and give their answer: one JSON object each."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from sampan_hub.privilege.errors import RunAsError
from sampan_hub.privilege.requests import MAX_REQUEST_BYTES
from sampan_hub.privilege.running import TIME_LIMIT_S

_ALARM_SLACK_S = 10
_ENDING = (signal.SIGALRM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def _end(number: int, _: object) -> NoReturn:
    said = "It was not done in time" if number == signal.SIGALRM else "It was broken off"
    raise RunAsError("unreachable", f"{said}: ask again.")


def _arm() -> None:
    """An end from outside, and the alarm for what hangs where no time-out reaches: input without an end, a file server
    that is away. What was started is ended too."""
    for number in _ENDING:
        signal.signal(number, _end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    signal.alarm(int(TIME_LIMIT_S) + _ALARM_SLACK_S)


def answer(act: Callable[[bytes], dict[str, Any]]) -> int:
    """Gives `act` what came in, prints `{"ok": …}` or `{"error": …}`; the exit code, 0 or 1."""
    try:
        _arm()
        said, code = {"ok": act(sys.stdin.buffer.read(MAX_REQUEST_BYTES + 1))}, 0
    except RunAsError as error:
        said, code = {"error": {"code": error.code, "text": error.text}}, 1
    except OSError as error:
        text = f"The system did not let it be done: {error.strerror}."
        said, code = {"error": {"code": "failed", "text": text}}, 1
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()
    return code
