"""One fork server: a process with a job's imports done (`shim.serve`), and this process's end of its socket."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan_hub.backends.local.launcher import SHIM, parse_answers
from sampan_hub.backends.local.shim.becoming import shared
from sampan_hub.backends.local.shim.serve import READY, STALE

log = logging.getLogger(__name__)

MODULES = ("sampan.notebook", "sampan.worker")
PATIENCE_S = 5.0
PATIENCE_PER_JOB_S = 0.25
"""How long jobs wait for a fork server that does not answer before they are started afresh."""
END_S = 1.0
MESSAGE_BYTES = 1024
ROOM = "SAMPAN_ROOM"
ROOM_BYTES = 1 << 14
"""Where forked jobs show their own variables to `ps`: the place is as large as it was when the server started."""

Spec = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Origin:
    """What must be equal in two jobs so that one process can fork both."""

    interpreter: str
    module: str
    environment: frozenset[tuple[str, str]]

    @property
    def program(self) -> tuple[str, str]:
        return self.interpreter, self.module


def find_origin(spec: Spec) -> Origin | None:
    """The fork server this job belongs to; None for programs of another form."""
    match spec["argv"]:
        case [str(interpreter), "-m", str(module)] if module in MODULES:
            return Origin(interpreter, module, frozenset(shared(spec["env"]).items()))
    return None


class ForkServer:
    """One such process, started here, and this process's end of its socket."""

    def __init__(self, origin: Origin, home: str) -> None:
        """Raises OSError when the interpreter cannot be run."""
        self.origin = origin
        self.used_at_s = time.monotonic()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        self._last_message = b""
        try:
            self._process = subprocess.Popen(
                [origin.interpreter, str(SHIM), origin.module],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**dict(origin.environment), "HOME": home, ROOM: "." * ROOM_BYTES},
                cwd="/",
                start_new_session=True,
            )
        except OSError:
            self._control.close()
            raise
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    def is_ready(self) -> bool:
        """Whether its imports are done, nothing of them has changed, and it can be asked."""
        with suppress(BlockingIOError, ConnectionError):
            while message := self._control.recv(MESSAGE_BYTES):
                self._last_message = message
                if message == READY:
                    log.info("fork server %d is ready for %s -m %s", self.pid, *self.origin.program)
        return self._last_message == READY and self._process.poll() is None

    def has_ended(self) -> bool:
        """Whether it serves no more and will not."""
        return self._last_message == STALE or self._process.poll() is not None

    @property
    def has_served(self) -> bool:
        """Whether it was ever ready: then another one will be too."""
        return self._last_message in (READY, STALE)

    def why_not(self) -> str:
        """What kept it from becoming ready, in its own words."""
        return self._last_message.decode("utf-8", "replace") or "it ended while it imported"

    def launch(self, root: Path, job_ids: Sequence[str], deadline_s: float) -> Mapping[str, str | None]:
        """As `launcher.launch`. What has no answer when it returns may or may not have been started."""
        self.used_at_s = time.monotonic()
        patience_s = PATIENCE_S + PATIENCE_PER_JOB_S * len(job_ids)
        answer_by_s = min(deadline_s, time.clock_gettime(time.CLOCK_BOOTTIME) + patience_s)
        request = {"root": str(root), "keys": list(job_ids), "deadline": deadline_s}
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                socket.send_fds(self._control, [b"."], [theirs.fileno()])
            ours.settimeout(PATIENCE_S)
            ours.sendall(json.dumps(request).encode())
            ours.shutdown(socket.SHUT_WR)
            return parse_answers(_read_until(ours, answer_by_s))

    def close(self) -> None:
        """It ends by itself: nobody can ask it any more. Its jobs are not its children and go on."""
        self._control.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _read_until(connection: socket.socket, deadline_s: float) -> bytes:
    """Everything that comes before the other side closes, or before the deadline."""
    pieces: list[bytes] = []
    while (left_s := deadline_s - time.clock_gettime(time.CLOCK_BOOTTIME)) > 0:
        connection.settimeout(left_s)
        try:
            piece = connection.recv(1 << 16)
        except TimeoutError:
            break
        if not piece:
            break
        pieces.append(piece)
    return b"".join(pieces)
