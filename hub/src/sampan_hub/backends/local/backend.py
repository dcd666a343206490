"""The backend itself: the contract of `backends.base`, each call a short piece of blocking work in a thread."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import threading
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from sampan_hub.backends.base import (
    BackendError,
    Capacity,
    Expected,
    JobSpec,
    Listing,
    LogTail,
    Pace,
    Phase,
    Submitted,
)
from sampan_hub.backends.local import containment, folders, listeners, logs, records, stopping
from sampan_hub.backends.local.fork_server import Origin
from sampan_hub.backends.local.forking import ForkServers
from sampan_hub.backends.local.listing import Lister, Look
from sampan_hub.backends.local.shim.files import UnreadableRecord
from sampan_hub.backends.local.submitting import Submitter, make_environment, start_afresh, withdraw
from sampan_hub.backends.local.tree import job_processes
from sampan_hub.jobs.model import Resources

STOP_GRACE_S = 5.0
SUBMIT_TIMEOUT_S = 30.0

Program = tuple[Sequence[str], Mapping[str, str]]
"""What a job runs and the variables it adds, as in `JobSpec`."""


class LocalBackend:
    """Jobs as processes of this machine, kept in folders below `root` (made 0700 when missing)."""

    pace = Pace(moving_s=0.5, steady_s=2.0, empty_s=5.0)

    def __init__(
        self,
        name: str,
        root: Path,
        instance: str,
        *,
        cores_milli: int,
        memory_bytes: int,
        gpus: int = 0,
        stop_grace_s: float = STOP_GRACE_S,
        submit_timeout_s: float = SUBMIT_TIMEOUT_S,
        group_parent: Path | None = None,
        fork: bool = False,
        prepared: Sequence[Program] = (),
    ) -> None:
        """`group_parent`: where jobs get control groups; by default one that systemd delegated, if there is one.

        `fork`: whether notebooks and workers are forked from processes that have imported everything; for the
        programs in `prepared` (argv, variables) such processes are started in advance and kept running.
        """
        self.name = name
        self.submit_timeout_s = submit_timeout_s
        self._root = root.absolute()
        self._instance = instance
        self._total = Resources(cores_milli, memory_bytes, gpus)
        self._stop_grace_s = stop_grace_s
        self._group_parent = group_parent or containment.find_group_parent()
        self._forks = ForkServers() if fork else None
        self._prepared = prepared if fork else ()
        start = start_afresh if self._forks is None else self._forks.launch
        self._submitter = Submitter(self._root, instance, stop_grace_s, self._group_parent, start)
        self._lister = Lister(self._root, instance)
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def fork_servers(self) -> Mapping[Origin, bool]:
        """Which processes with imports done there are, and whether each can be asked now."""
        return {} if self._forks is None else self._forks.states()

    def close(self) -> None:
        """End the processes with imports done, as the end of this process does; jobs go on."""
        if self._forks is not None:
            self._forks.close()

    def describe(self) -> str:
        """How jobs are held together and limited here, in one sentence for administrators."""
        return containment.describe(self._group_parent)

    async def submit(self, batch: Sequence[JobSpec]) -> Submitted:
        """Start every job of the batch; see the contract. All folders are whole before the first job starts."""
        given_up = threading.Event()
        try:
            return await asyncio.to_thread(self._submitter.submit, batch, self.submit_timeout_s, given_up)
        except asyncio.CancelledError:
            given_up.set()  # a thread cannot be cancelled: what it has not begun it then leaves
            raise

    async def cancel(self, job_ids: Sequence[str]) -> None:
        """Ask for the end of these jobs; see the contract."""
        await asyncio.to_thread(self._cancel, job_ids)

    def _cancel(self, job_ids: Sequence[str]) -> None:
        failed: list[str] = []
        for job_id in job_ids:
            folder = folders.job_folder(self._root, self._instance, job_id)
            try:
                if folder is not None:
                    stopping.request_stop(folder, self._stop_grace_s)
            except FileNotFoundError:
                continue  # forgotten meanwhile
            except (OSError, UnreadableRecord) as error:
                failed.append(f"{job_id}: {error}")
        if failed:
            raise BackendError(f"local: {len(failed)} jobs could not be asked to end: {'; '.join(failed[:5])}")

    async def observe(self, expected: Collection[Expected] = ()) -> Listing:  # noqa: ARG002 - records stay
        """One look at every folder; see the contract. Ended jobs stay until `forget`."""
        begun_at = datetime.now(UTC)
        look = await asyncio.to_thread(self._look)
        return Listing(
            backend=self.name,
            begun_at=begun_at,
            finished_at=datetime.now(UTC),
            jobs=look.jobs,
            complete_history=True,
            leftovers=look.leftovers,
        )

    def _look(self) -> Look:
        if self._forks is not None:
            environments = ((argv, make_environment(os.environ, more, "", self._root)) for argv, more in self._prepared)
            self._forks.prepare([{"argv": list(argv), "env": environment} for argv, environment in environments])
        return self._lister.look()

    async def read_log(self, job_id: str, lines: int) -> LogTail:
        """The last lines of the job's output; empty for a job that is not kept here."""
        folder = folders.job_folder(self._root, self._instance, job_id)
        if folder is None:
            return LogTail((), truncated=False)
        try:
            return await asyncio.to_thread(logs.read_tail, folder, lines)
        except (OSError, UnreadableRecord) as error:
            raise BackendError(f"local: the output of {job_id} cannot be read: {error}") from error

    async def capacity(self) -> Capacity:
        """What the settings give out, and what living jobs leave of it."""
        look = await asyncio.to_thread(self._lister.look)
        used = Resources(0, 0, 0)
        for job in look.jobs:
            if job.phase is not Phase.ENDED and job.identity is not None:
                used += job.identity.resources
        free = Resources(
            max(0, self._total.cores_milli - used.cores_milli),
            max(0, self._total.memory_bytes - used.memory_bytes),
            max(0, self._total.gpus - used.gpus),
        )
        return Capacity(total=self._total, free=free, queues=False)

    async def owns_listener(self, job_id: str, host: str, port: int) -> bool:
        """Whether whatever may answer at host:port is this job's, and only this job's. `host` is an IP address."""
        folder = folders.job_folder(self._root, self._instance, job_id)
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        if folder is None:
            return False
        try:
            return await asyncio.to_thread(_owns, folder, address, port)
        except (OSError, UnreadableRecord) as error:
            raise BackendError(f"local: the listener of {job_id} at port {port} cannot be checked: {error}") from error

    async def forget(self, job_ids: Sequence[str]) -> None:
        """Remove the folders of ended jobs. A job that still runs is kept, and named in the error."""
        await asyncio.to_thread(self._forget, job_ids)

    def _forget(self, job_ids: Sequence[str]) -> None:
        kept: list[str] = []
        for job_id in job_ids:
            folder = folders.job_folder(self._root, self._instance, job_id)
            try:
                if folder is not None and not withdraw(self._root, folder):
                    kept.append(job_id)
            except FileNotFoundError:
                continue
            except (OSError, UnreadableRecord) as error:
                kept.append(f"{job_id} ({error})")
        if kept:
            raise BackendError(f"local: still running or not removable, so kept: {', '.join(kept[:5])}")


def _owns(folder: Path, address: listeners.IpAddress, port: int) -> bool:
    start = records.read_start(folder)
    candidates = [found for found in listeners.read_listeners() if listeners.could_answer(found, address, port)]
    if start is None or not candidates:
        return False
    pids = [process.pid for process in job_processes(folder.name, start)]
    return listeners.holds_all(pids, {found.inode for found in candidates})
