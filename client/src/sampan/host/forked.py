"""A host forked from the notebook's zygote: what a kernel asks of it, what it answers, and how its end is seen.

Kernel and fork speak in this order, over the one connection:

| from | what |
|---|---|
| kernel | a JSON line, `Request`, and with it the descriptor of the host's log |
| fork | a JSON line: `pid` and `pid_started`, or `problem` |
| kernel | GO; without it the fork ends and has done nothing |
| zygote | a JSON line with the host's exit `code`, once it has ended |
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from sampan import rundir

log = logging.getLogger("sampan.host")

SOCKET = ".hosts.sock"
"""In the session's runtime folder. No cluster can have this name."""
GO = b"g"
PATIENCE_S = 30.0
"""How long each side waits for the other's next word."""
REQUEST_BYTES = 1 << 20
VARYING = {
    *("CPU_GUARANTEE", "CPU_LIMIT", "MEM_GUARANTEE", "MEM_LIMIT", "PATH", "PWD", "OLDPWD", "SHLVL", "_"),
    *("CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "FORCE_COLOR", "GIT_PAGER", "LINES", "PAGER", "TERM"),
    *("MPLBACKEND", "PYDEVD_USE_FRAME_EVAL"),
}
VARYING_PREFIXES = ("JPY_", "JUPYTER", "SAMPAN_", "DASK_DISTRIBUTED__COMM__TLS__")
"""What Sampan, Jupyter and kernels set for themselves, and nothing looked at when the host's modules were imported."""


@dataclass(frozen=True, slots=True)
class Request:
    """A host as the kernel would start it afresh."""

    interpreter: str
    folder: str
    """The cluster's."""
    directory: str
    """Where it runs."""
    environ: dict[str, str]


def why_not(request: Request, interpreter: str, environ: Mapping[str, str]) -> str | None:
    """Why a fork of this process would not be what a fresh start is; None when it is the same."""
    if request.interpreter != interpreter:
        return f"{request.interpreter} is another interpreter"
    names = {name for name in {*environ, *request.environ} if environ.get(name) != request.environ.get(name)}
    unknown = sorted(name for name in names if name not in VARYING and not name.startswith(VARYING_PREFIXES))
    return f"{', '.join(unknown)} in the environment differ" if unknown else None


def read_request(connection: socket.socket) -> tuple[Request, int]:
    """The request and its log. Raises ValueError or TypeError for what is none."""
    text, descriptors, _, _ = socket.recv_fds(connection, REQUEST_BYTES, 1)
    while not text.endswith(b"\n"):
        piece = connection.recv(REQUEST_BYTES)
        text += piece
        if not piece or len(text) > REQUEST_BYTES:
            raise ValueError("the request is cut short, or too long")
    (log,) = descriptors
    return Request(**json.loads(text)), log


def say(connection: socket.socket, words: Mapping[str, object]) -> None:
    connection.sendall(json.dumps(words).encode() + b"\n")


def fork_host(path: Path, folder: Path, directory: str, output: int) -> Forked | None:
    """A host out of the notebook's zygote; None, with nothing started, where there is none or it would differ."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(PATIENCE_S)
        connection.connect(str(path))
        request = Request(sys.executable, str(folder), directory, dict(os.environ))
        answer = _ask(connection, request, output)
        if not isinstance(answer, str):
            connection.sendall(GO)
            return Forked(connection, answer)
        log.debug("The host is started afresh: %s", answer)
    except (OSError, ValueError) as error:
        log.debug("The host is started afresh: %s", error)
    connection.close()
    return None


def _ask(connection: socket.socket, request: Request, output: int) -> Mapping[str, int] | str:
    """The fork's `pid` and `pid_started`, or the problem. Raises OSError, ValueError."""
    socket.send_fds(connection, [json.dumps(asdict(request)).encode() + b"\n"], [output])
    text = b""
    while not text.endswith(b"\n"):
        piece = connection.recv(4096)
        if not piece:
            raise ConnectionError("the zygote has ended, or takes no requests")
        text += piece
    answer = json.loads(text)
    return str(answer["problem"]) if "problem" in answer else answer


class Forked:
    """Such a host as its kernel sees it, and the connection on which the zygote tells of its end."""

    def __init__(self, connection: socket.socket, process: Mapping[str, int]) -> None:
        self._connection = connection
        self._process = process
        connection.setblocking(False)

    def end(self) -> str | None:
        """How it ended; None while it runs."""
        try:
            said = self._connection.recv(4096)
        except BlockingIOError:
            return None
        except OSError:
            said = b""
        if said:
            return f"with code {json.loads(said)['code']}"
        return None if rundir.is_alive(self._process) else "with a code that nobody saw"

    def terminate(self) -> None:
        with suppress(ProcessLookupError):
            handle = os.pidfd_open(self._process["pid"])
            try:
                if rundir.is_alive(self._process):
                    signal.pidfd_send_signal(handle, signal.SIGTERM)
            finally:
                os.close(handle)

    def release(self) -> None:
        self._connection.close()
