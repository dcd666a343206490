"""The fork servers of this backend: one per environment and entry point, each as long as this process lives.

A fork server is a process with a job's imports done (`shim.serve`). It is asked over a socket pair that nobody else
has an end of, and ends when this process does, however that happens. Whatever it cannot do is done by `launcher`.
"""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sampan_hub.backends.base import BackendError
from sampan_hub.backends.local.launcher import SHIM, launch, parse_answers
from sampan_hub.backends.local.shim.becoming import shared
from sampan_hub.backends.local.shim.serve import READY, STALE

log = logging.getLogger(__name__)

MODULES = ("sampan.notebook", "sampan.worker")
MOST_SERVERS = 6
"""Each holds 60 to 80 MiB. The one that was not used for the longest time goes first."""
TRY_AGAIN_S = 300.0
"""After a failed start: an environment without our client will not have one a second later."""
PATIENCE_S = 5.0
"""How long jobs wait for a fork server that does not answer before they are started afresh."""
END_S = 2.0
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
        answer_by_s = min(deadline_s, time.clock_gettime(time.CLOCK_BOOTTIME) + PATIENCE_S)
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


@dataclass
class ForkServers:
    """Which jobs are forked from where. Thread-safe; starting a server never keeps a job waiting."""

    _servers: dict[Origin, ForkServer] = field(default_factory=dict)
    _seen: set[Origin] = field(default_factory=set)
    _not_before_s: dict[Origin, float] = field(default_factory=dict)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def launch(self, root: Path, specs: Mapping[str, Spec], timeout_s: float) -> Mapping[str, str | None]:
        """As `launcher.launch`: forked where a server is ready, started afresh where none is or one fails.

        A job that was asked for twice starts once all the same: its keepers take turns at its lock.
        """
        deadline_s = time.clock_gettime(time.CLOCK_BOOTTIME) + timeout_s
        answers: dict[str, str | None] = {}
        for server, job_ids in self._assign(specs):
            try:
                answers.update(server.launch(root, job_ids, deadline_s))
            except (OSError, ValueError) as error:
                log.warning("the fork server %d does not answer (%s): its jobs are started afresh", server.pid, error)
            self._ensure(specs[job_ids[0]])  # another one, if what it imported has changed
        left_s = deadline_s - time.clock_gettime(time.CLOCK_BOOTTIME)
        rest = [job_id for job_id in specs if job_id not in answers]
        if rest and left_s <= 0:
            raise BackendError(f"local: {len(rest)} jobs were not all started within {timeout_s:g} s")
        return {**answers, **launch(root, rest, left_s)} if rest else answers

    def prepare(self, specs: Iterable[Spec]) -> None:
        """Called again and again: servers for such jobs come to run, one after the other to leave room for others."""
        for spec in specs:
            origin = find_origin(spec)
            is_ready = origin is None or self._find(origin, spec["env"].get("HOME", ""), is_wanted=True) is not None
            if not is_ready and origin in self._servers:
                return  # it imports now

    def _ensure(self, spec: Spec) -> ForkServer | None:
        """The server for such jobs, if it can be asked now; one is started when such jobs come for the second time."""
        origin = find_origin(spec)
        if origin is None:
            return None
        is_wanted = origin in self._seen
        self._seen.add(origin)
        return self._find(origin, spec["env"].get("HOME", ""), is_wanted=is_wanted)

    def _find(self, origin: Origin, home: str, *, is_wanted: bool) -> ForkServer | None:
        with self._turn:
            server = self._servers.get(origin)
            if server is not None and server.is_ready():
                return server
            if server is not None and server.has_ended():
                self._bury(server)
                server = None
            if server is None and is_wanted and time.monotonic() >= self._not_before_s.get(origin, 0.0):
                self._start(origin, home)
        return None

    def states(self) -> dict[Origin, bool]:
        """Every server there is, and whether it can be asked now."""
        with self._turn:
            return {origin: server.is_ready() for origin, server in self._servers.items()}

    def close(self) -> None:
        """Every server ends; the next job starts anew."""
        with self._turn:
            for server in self._servers.values():
                server.close()
            self._servers.clear()

    def _assign(self, specs: Mapping[str, Spec]) -> list[tuple[ForkServer, list[str]]]:
        groups: dict[int, tuple[ForkServer, list[str]]] = {}
        for job_id, spec in specs.items():
            server = self._ensure(spec)
            if server is not None:
                groups.setdefault(server.pid, (server, []))[1].append(job_id)
        return list(groups.values())

    def _start(self, origin: Origin, home: str) -> None:
        if len(self._servers) >= MOST_SERVERS:
            oldest = min(self._servers.values(), key=lambda server: server.used_at_s)
            self._servers.pop(oldest.origin).close()
        try:
            self._servers[origin] = ForkServer(origin, home)
        except OSError:
            self._not_before_s[origin] = time.monotonic() + TRY_AGAIN_S  # its jobs fail by themselves and say why

    def _bury(self, server: ForkServer) -> None:
        self._servers.pop(server.origin, None)
        server.close()
        if server.has_served:
            return
        self._not_before_s[server.origin] = time.monotonic() + TRY_AGAIN_S
        log.info(
            "no fork server for %s -m %s (%s): its jobs are started afresh",
            server.origin.interpreter,
            server.origin.module,
            server.why_not(),
        )
