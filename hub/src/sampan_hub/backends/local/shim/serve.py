"""A process that imports a job's modules once and then forks keepers, whose jobs begin where the imports end.

Started as `<the job's python> <this folder> <module>` with the environment of such jobs and one end of a socket pair
as its standard input. Only who started it has the other end; when that closes, this process ends. Messages, one
packet each:

| from | what | meaning |
|---|---|---|
| here | `ready` | the imports are done |
| here | `stale` | it has changed on disk: the request that came is served by fresh starts, then this ends |
| here | any other text | why this process cannot serve; then it ends |
| there | one descriptor | a connection with one request, as `launch` takes it |
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path

from . import launch
from .becoming import Become, Program
from .freshness import Imports

READY = b"ready"
STALE = b"stale"


def main(module: str) -> None:
    """Serve until told to end. In a forked job: be that job, from here, with no frame of the server below it."""
    control = _take_control()
    try:
        imports, program = _import(module)
    except BaseException as error:  # noqa: BLE001  (whatever a package does at import is told, not suffered)
        control.send(f"{type(error).__name__}: {error}"[:500].encode())
        return
    try:
        _serve(control, imports, program)
        return
    except Become as job:
        spec = job.spec
    program.run(spec)


def _take_control() -> socket.socket:
    """The socket from standard input, out of the way of jobs; in its place nothing."""
    control = socket.socket(fileno=os.dup(0))
    nothing = os.open("/dev/null", os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    return control


def _import(module: str) -> tuple[Imports, Program]:
    del sys.path[0]  # the folder of this package: jobs must not find anything there
    imports = Imports()
    forkserver = importlib.import_module("sampan.forkserver")
    program = Program(module, forkserver.reads_home)
    descriptors = _own_descriptors()
    forkserver.preload(module)
    if threading.active_count() != 1:
        raise RuntimeError(f"importing for {module} started threads, and a fork would lose them")
    if _own_descriptors() > descriptors:
        raise RuntimeError(f"importing for {module} left files or sockets open, and forks would share them")
    imports.complete(forkserver.files_read())
    program.note_imports()
    gc.collect()
    gc.freeze()  # or the first collection in every fork would copy all that is shared
    return imports, program


def _own_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _serve(control: socket.socket, imports: Imports, program: Program) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody here waits for the short-lived processes of requests
    control.send(READY)
    while program.is_current:
        _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not descriptors:
            return
        (connection,) = descriptors
        program.is_current = imports.are_current()
        if not program.is_current:
            control.send(STALE)
        if os.fork() == 0:
            control.close()
            _answer(connection, program)
        os.close(connection)


def _answer(connection: int, program: Program) -> None:
    """In a process of its own: fork the keepers of one request, as `launch` does for itself."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(connection, 0)
        os.dup2(connection, 1)
        os.close(connection)
        launch.main(program)
    except Exception:  # noqa: BLE001  (nothing may unwind into the server; `Become` is none)
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
