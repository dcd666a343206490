"""A notebook's zygote: an idle fork of its very beginning, from which the hosts of its clusters are forked.

A host's start is mostly imports, and a notebook that was forked itself has them already (`sampan.forkserver`).

    notebook ──socket pair──> zygote <──private socket── kernel (`forked`)
                                └──fork──> host (`start.main`)

Whatever is in doubt (another interpreter, packages that changed on disk, a variable that imports look at) is a
problem, and the kernel starts the host afresh. The zygote ends with its notebook, however that ends; hosts see to
their own ends.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import selectors
import signal
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from sampan._job import raise_oom_score
from sampan.host import forked
from sampan.host.freshness import Imports, places_in_home

BACKLOG = 16
ZYGOTE_OOM_SCORE = 300
"""As kernels have: a host lowers its own."""
_ARGUMENTS = slice(45, 47)
"""Of `/proc/self/stat`, counted after the command: where the words begin and end that `ps` shows."""


class Zygote:
    """The notebook's end of it. When this is closed, by whatever end, the zygote ends."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    def listen(self, folder: Path) -> None:
        """From now on kernels find it in this private folder; where that fails they start their hosts afresh."""
        path = folder / forked.SOCKET
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, suppress(OSError):
            path.unlink(missing_ok=True)
            before = os.umask(0o177)
            try:
                listener.bind(str(path))
            finally:
                os.umask(before)
            listener.listen(BACKLOG)
            socket.send_fds(self._control, [b"."], [listener.fileno()])


def start(imports: Imports | None, run: Callable[[Sequence[str]], int] | None = None) -> Zygote | None:
    """Fork this process's zygote, before it has done anything. None where hosts are to be started afresh.

    `imports`: what was imported for hosts. In every host that is forked from here this does not return: it runs to
    its end, and leaves by SystemExit.
    """
    if imports is None or threading.active_count() != 1 or not hasattr(os, "pidfd_open"):
        return None
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            return None
        if pid:
            os.waitpid(pid, 0)
            return Zygote(ours)
        ours.close()
        request = _serve_apart(theirs, imports)
    sys.exit((run or run_host)([request.folder]))


def _serve_apart(control: socket.socket, imports: Imports) -> forked.Request:
    """As a grandchild, so that no notebook counts or reaps it. Returns in hosts; nothing else may unwind from here."""
    try:
        if os.fork():
            os._exit(0)
        return _Server(control, imports).serve()
    except BaseException:  # noqa: BLE001  (nothing may unwind into the notebook's beginning)
        traceback.print_exc()
        os._exit(1)


class _Server:
    """The zygote's own life."""

    def __init__(self, control: socket.socket, imports: Imports) -> None:
        self.control = control
        self.imports = imports
        self.environ = dict(os.environ)
        imports.watch(places_in_home(self.environ.get("HOME", "")))
        self.selector = selectors.DefaultSelector()
        self.hosts: dict[int, tuple[int, socket.socket]] = {}

    def serve(self) -> forked.Request:
        """Until the notebook ends. Returns in hosts alone."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal that `sampan up` was started from
        raise_oom_score(ZYGOTE_OOM_SCORE)
        show_as([sys.executable, "-m", "sampan.host.zygote"])
        _, descriptors, _, _ = socket.recv_fds(self.control, 1, 1)
        if not descriptors:
            os._exit(0)
        self.listener = socket.socket(fileno=descriptors[0])
        self.selector.register(self.control, selectors.EVENT_READ)
        self.selector.register(self.listener, selectors.EVENT_READ)
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is self.control:
                    os._exit(0)
                if key.fileobj is not self.listener:
                    self._reap(key.fd)
                elif (request := self._accept()) is not None:
                    return request

    def _accept(self) -> forked.Request | None:
        """Fork for one connection; None in the zygote itself."""
        connection, _ = self.listener.accept()
        if not _is_of_this_user(connection):
            connection.close()
            return None
        if not self.imports.are_current():
            os._exit(0)  # it would only get older: from now on hosts are started afresh
        try:
            pid = os.fork()
        except OSError:
            connection.close()
            return None
        if pid == 0:
            return self._become_host(connection)
        handle = os.pidfd_open(pid)
        self.hosts[handle] = (pid, connection)
        self.selector.register(handle, selectors.EVENT_READ)
        return None

    def _reap(self, handle: int) -> None:
        self.selector.unregister(handle)
        os.close(handle)
        pid, connection = self.hosts.pop(handle)
        _, status = os.waitpid(pid, 0)
        with connection, suppress(OSError):
            connection.settimeout(0)
            connection.sendall(json.dumps({"code": os.waitstatus_to_exitcode(status)}).encode() + b"\n")

    def _become_host(self, connection: socket.socket) -> forked.Request:
        """In the fork: hear the request, and be that process. Ends here unless the kernel wants it to go on."""
        for other in (self.control, self.listener, *(theirs for _, theirs in self.hosts.values())):
            other.close()
        self.selector.close()
        with connection:
            connection.settimeout(forked.PATIENCE_S)
            try:
                request, log = forked.read_request(connection)
                problem = forked.why_not(request, sys.executable, self.environ)
                forked.say(connection, {"problem": problem} if problem else _identity())
                if problem or connection.recv(1) != forked.GO:
                    os._exit(0)
            except (OSError, ValueError, TypeError):
                os._exit(0)
        _settle(request, log, self.imports.path)
        return request


def _is_of_this_user(connection: socket.socket) -> bool:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", credentials)[1] == os.getuid())


def _identity() -> dict[str, int]:
    started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    return {"pid": os.getpid(), "pid_started": int(started)}


def _settle(request: forked.Request, log: int, path: Sequence[str]) -> None:
    """Everything that a fresh start would have of its own."""
    os.setsid()
    nothing = os.open("/dev/null", os.O_RDONLY)
    for number, target in enumerate((nothing, log, log)):
        os.dup2(target, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.chdir(request.directory)
    os.environ.clear()
    os.environ.update(request.environ)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    words = [sys.executable, "-P", "-m", "sampan.host", request.folder]
    show_as(words)
    sys.orig_argv[:], sys.argv[:], sys.path[:] = words, words[3:], path
    random = getattr(sys.modules.get("numpy"), "random", None)
    if random is not None:
        random.seed()  # Python's own generators are seeded anew at every fork; numpy's are not


def show_as(words: Sequence[str]) -> None:
    """What `ps` shows of this process, as far as there is room: a fork has no more of it than the first process."""
    start, end = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[_ARGUMENTS])
    content = b"".join(os.fsencode(word) + b"\0" for word in words)[: end - start - 1]
    ctypes.memmove(start, content.ljust(end - start, b"\0"), end - start)


def run_host(arguments: Sequence[str]) -> int:
    """What `python -m sampan.host` does, after what Dask does at import with the settings and variables it finds."""
    settings = importlib.import_module("dask.config")
    settings.refresh()
    importlib.import_module("distributed.config").initialize_logging(settings.config)
    return int(importlib.import_module("sampan.host.start").main(arguments))
