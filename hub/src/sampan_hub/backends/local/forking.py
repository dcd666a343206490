"""The fork servers of this backend: one per environment and entry point, each as long as this process lives.

A fork server is a process with a job's imports done (`shim.serve`). It is asked over a socket pair that nobody else
has an end of, and ends when this process does, however that happens. Whatever it cannot do is done by `launcher`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sampan_hub.backends.base import BackendError
from sampan_hub.backends.local.fork_server import ForkServer, Origin, Spec, find_origin
from sampan_hub.backends.local.launcher import launch

log = logging.getLogger(__name__)

MOST_SERVERS = 6
"""Each holds 40 to 70 MiB. The one that was not used for the longest time goes first."""
MOST_REMEMBERED = 1000
TRY_AGAIN_S = 300.0
"""After a failed start: an environment without our client will not have one a second later."""


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
                log.warning("fork server %d does not take requests: %s", server.pid, error)
            if not answers.keys() >= set(job_ids):
                self._give_up(server)
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
        if len(self._seen) >= MOST_REMEMBERED:
            self._seen.clear()
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

    def _give_up(self, server: ForkServer) -> None:
        with self._turn:
            if self._servers.get(server.origin) is server:
                log.warning("fork server %d left jobs without an answer: it is replaced", server.pid)
                del self._servers[server.origin]
                server.close()

    def _bury(self, server: ForkServer) -> None:
        self._servers.pop(server.origin, None)
        server.close()
        if server.has_served:
            return
        self._not_before_s[server.origin] = time.monotonic() + TRY_AGAIN_S
        log.info(
            "no fork server for %s -m %s (%s): its jobs are started afresh", *server.origin.program, server.why_not()
        )
