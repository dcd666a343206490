"""`Cluster`: Dask on whatever machine this is, from any notebook, with one line."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import inspect
import os
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from distributed.core import Status, rpc
from distributed.deploy.cluster import Cluster as DaskCluster
from distributed.utils import NoOpAwaitable
from tornado.ioloop import PeriodicCallback

from sampan import parity
from sampan._api import Session, read_session
from sampan.errors import ClusterFailed, ClusterNotFound, EnvironmentDiffers, Refused, SampanError, WorkerWarning
from sampan.host.begin import begin, find
from sampan.host.handle import AsJob
from sampan.host.options import Options
from sampan.report import Money, Quote, describe_waiting, failed_workers, make_cost, make_quote
from sampan.request import Adapt, Workers, make_counts, make_options
from sampan.running import RunningCluster, list_running
from sampan.security import ensure_keys, make_security

CLOSE_TIMEOUT_S = 30.0
NOTES_INTERVAL_S = 1.0
LISTEN_TIMEOUT_S = 10.0
"""Of a word with the host: whoever is silent for longer is asked after at the service."""
TAILS = 2
TAIL_LINES = 20


class Cluster(DaskCluster):
    """A Dask cluster of this notebook session: `Cluster(workers=8)`.

    workers: how many, or a mapping of size to count; without it (and without `adapt`) the cluster adapts from 0 to
        what you may have now.
    size: the size of each worker, by name; default: the site's.
    name: a name of your own; a running cluster of that name in this session is joined.
    adapt: `(minimum, maximum)`, or True: workers come and go with the tasks.
    project, backend: who pays, and where it runs; default: the notebook's.
    env: an environment's name, or the path of a Python environment; default: this kernel's own interpreter.
    idle_timeout: without tasks for this long workers rest; without anybody connected the cluster ends.
    asynchronous: for use with `await` and `async with`.

    Without a compute service the same line gives dask-jobqueue's SLURMCluster where there is `sbatch`, else Dask's
    LocalCluster. The cluster outlives the kernel: `Cluster.attach()` finds it again.
    """

    __signature__: ClassVar[inspect.Signature]
    _options: Options | None

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if read_session() is None:
            from sampan.direct import make_cluster

            return make_cluster(*args, **kwargs)
        return super().__new__(cls)

    def __init__(
        self,
        workers: Workers = None,
        size: str | None = None,
        *,
        name: str | None = None,
        adapt: Adapt = None,
        project: str | None = None,
        backend: str | None = None,
        env: str | None = None,
        idle_timeout: str | float = "20m",
        asynchronous: bool = False,
    ) -> None:
        session = _need_session()
        self._options = options = make_options(
            workers, size, name=name, adapt=adapt, project=project, backend=backend, env=env, idle_timeout=idle_timeout
        )
        self._open(session, options.name, asynchronous)

    # Beginnings.

    def _open(self, session: Session, name: str, asynchronous: bool) -> None:
        self._session = session
        self._notes_seen = 0
        super().__init__(asynchronous=asynchronous, name=name)
        if not self.called_from_running_loop:
            self._loop_runner.start()
            try:
                self.sync(self._start)
            except BaseException:
                self.status = Status.closed
                self._loop_runner.stop()
                raise

    async def _start(self) -> None:
        """Start the host or find the running one, then join its scheduler."""
        self.status = Status.starting
        try:
            host = await asyncio.to_thread(find, self._session, self.name)
            joined = host is not None
            if host is None:
                if self._options is None:
                    raise ClusterNotFound(f"The cluster {self.name} has ended")
                host = await asyncio.to_thread(begin, self._session, self._options)
            self.security = make_security(ensure_keys(self._session.job_dir))
            self.scheduler_comm = rpc(host.scheduler, connection_args=self.security.get_connection_args("client"))
            if isinstance(host, AsJob):
                host = host.with_facts(await self.scheduler_comm.sampan_describe())
            self._host = host
            check_parity(host.facts)
            await super()._start()
        except BaseException:
            self.status = Status.closed
            raise
        if joined and self._options is not None:
            await self._wish(self._options)
        self._tell(await self.scheduler_comm.sampan_info())
        self.periodic_callbacks["sampan-notes"] = notes = PeriodicCallback(self._listen, NOTES_INTERVAL_S * 1000)
        notes.start()

    def __await__(self) -> Any:
        async def begin() -> Self:
            if self.status == Status.created:
                await self._start()
            return self

        return begin().__await__()

    @classmethod
    def attach(cls, name: str | None = None, *, asynchronous: bool = False) -> Cluster:
        """Join a running cluster of this notebook session, by default the one started last."""
        session = _need_session()
        running = [each.name for each in list_running(session)]
        if not running or (name is not None and name not in running):
            which = "no cluster runs" if not running else f"there is no {name!r}, but {', '.join(running)}"
            raise ClusterNotFound(f"In this notebook session {which}")
        self: Cluster = object.__new__(cls)
        self._options = None
        self._open(session, name or running[-1], asynchronous)
        return self

    @classmethod
    def list(cls) -> builtins.list[RunningCluster]:
        """The running clusters of this notebook session, the oldest first."""
        return list_running(_need_session())

    # Wishes.

    async def _wish(self, options: Options) -> None:
        """What the options ask of a cluster that runs already."""
        if options.workers:
            await self._scale(options.workers)
        elif options.adapt is not None:
            await self._adapt(*options.adapt)

    def scale(self, n: int | Mapping[str, int]) -> Any:
        """Have `n` workers, or so many of each size: `scale({"small": 8, "gpu": 1})`. Ends adapting.

        Raises `Refused` when there could not be one more than now; some of them: a warning, and the rest is asked
        for again when the limit moves.
        """
        return self.sync(self._scale, make_counts(n))

    async def _scale(self, sizes: Mapping[str, int]) -> None:
        before = await self.scheduler_comm.sampan_info()
        info = await self.scheduler_comm.sampan_scale(sizes=dict(sizes))
        if info["refused"] and info["planned"] <= before["planned"]:
            problem = info["refused"]
            known = ("status", "code", "field", "allowed", "limit", "used", "asked", "maximum", "raised_by")
            fields = {key: problem[key] for key in known if problem.get(key) is not None}
            self._notes_seen = max(self._notes_seen, info["note_count"])
            raise Refused(problem.get("detail") or "The service refused every worker", **fields)
        self._tell(info)

    def adapt(self, minimum: int = 0, maximum: int | None = None) -> Any:
        """Have between `minimum` and `maximum` workers as the tasks need. Without a maximum: what you may have now."""
        return self.sync(self._adapt, minimum, maximum)

    async def _adapt(self, minimum: int, maximum: int | None) -> None:
        await self.scheduler_comm.sampan_adapt(minimum=minimum, maximum=maximum)

    # Talk.

    def _tell(self, info: Mapping[str, Any]) -> None:
        """Show the host's notes once."""
        for note in info["notes"]:
            if note["number"] > self._notes_seen:
                self._notes_seen = note["number"]
                if note["kind"] != "rested":
                    warnings.warn(f"{self.name}: {note['text']}", WorkerWarning, stacklevel=2)

    async def _listen(self) -> None:
        """Hear what happened to workers; say once when the host is gone."""
        if self.status != Status.running:
            return
        if self._is_cut_off() and await self._has_ended():
            return
        try:
            async with asyncio.timeout(LISTEN_TIMEOUT_S):
                self._tell(await self.scheduler_comm.sampan_info())
        except (OSError, TimeoutError):  # it is ending just now, or cannot be reached
            await self._has_ended()

    def _is_cut_off(self) -> bool:
        """Whether something speaks for the host's end: its process, or the connection that it keeps open."""
        comm = self._watch_worker_status_comm
        return self._host.is_gone() or comm is None or comm.closed()

    async def _has_ended(self) -> bool:
        why = await asyncio.to_thread(self._host.why_ended)
        if why is not None and self.status == Status.running:
            self.periodic_callbacks["sampan-notes"].stop()
            warnings.warn(f"{self.name}: the cluster has ended ({why.rstrip('.')})", WorkerWarning, stacklevel=2)
        return why is not None

    def _update_worker_status(self, op: str, msg: Any) -> None:
        """As Dask's, for which the end of a worker it never saw begin (let go while it registered) is an error."""
        if op == "add" or msg in self.scheduler_info["workers"]:
            super()._update_worker_status(op, msg)

    async def _wait_for_workers(self, n_workers: int = 0, timeout: float | None = None) -> None:  # noqa: ASYNC109  Dask's signature
        """As Dask's, but it gives up, with the reason, when no more workers will come."""
        waiting = asyncio.ensure_future(super()._wait_for_workers(n_workers, timeout))
        try:
            while not waiting.done():
                await asyncio.wait([waiting], timeout=NOTES_INTERVAL_S / 2)
                if not waiting.done():
                    info = await self.scheduler_comm.sampan_info()
                    if info["braked"] and info["workers"] < n_workers:
                        raise ClusterFailed(await asyncio.to_thread(self._why, info))
            await waiting
        finally:
            waiting.cancel()

    def why(self) -> str:
        """Why am I waiting? Who is there, who is not, each with state, reason and place in the queue."""
        return str(self.sync(self._why_async))

    async def _why_async(self) -> str:
        info = await self.scheduler_comm.sampan_info()
        return await asyncio.to_thread(self._why, info)

    def _why(self, info: Mapping[str, Any]) -> str:
        jobs = self._jobs(info["id"])
        tails = {job["name"]: self._log(job["id"], TAIL_LINES) for job in failed_workers(jobs)[-TAILS:]}
        return describe_waiting(info, jobs, tails)

    def _jobs(self, cluster_id: str) -> builtins.list[dict[str, Any]]:
        answer = self._session.connect().call("GET", "/jobs", query={"cluster": cluster_id})
        return [job for job in answer["jobs"] if job["kind"] == "worker"]

    def _log(self, job_id: str, lines: int) -> str:
        try:
            answer = self._session.connect().call("GET", f"/jobs/{job_id}/log", query={"lines": lines})
        except SampanError as error:
            return f"(its output cannot be read: {error})"
        return "\n".join(answer["lines"])

    def logs(self, lines: int = 200) -> dict[str, str]:
        """The end of the host's log and of every worker's output, also of workers that ended."""
        jobs = self._jobs(self._host.facts["id"])
        found = {"host": "\n".join(self._host.log(lines))}
        return found | {job["name"]: self._log(job["id"], lines) for job in jobs}

    @property
    def cost(self) -> Money | None:
        """What the workers of this cluster have cost so far; None where there are no prices."""
        offers = self._session.connect().call("GET", "/offers")
        return make_cost(self._jobs(self._host.facts["id"]), offers["currency"])

    def quote(self, n: int, size: str | None = None) -> Quote:
        """What `n` workers would take, cost per hour, and how many you may have now."""
        wanted = size or (self._options.size if self._options else None)
        query = {name: self._host.facts.get(name) for name in ("project", "backend")}
        return make_quote(self._session.connect().call("GET", "/offers", query=query), n, wanted)

    @property
    def dashboard_link(self) -> str:
        """Dask's dashboard, behind this notebook server's own login."""
        return f"{os.environ.get('JUPYTERHUB_SERVICE_PREFIX', '/')}sampan/{self.name}/status"

    def get_client(self) -> Any:
        """A client that fetches results from the workers directly; the current one if it is this cluster's."""
        from distributed.client import Client

        with contextlib.suppress(ValueError):
            current = Client.current()
            if current.cluster is self and current.status == "running":
                return current
        return Client(self, direct_to_workers=True, asynchronous=self.asynchronous)

    def _widget(self) -> Any:
        from sampan.widget import make_widget

        return make_widget(self)

    # Ends.

    async def _close(self) -> None:
        """End the cluster: its workers, its scheduler, its host; returns when the host is gone."""
        if self.status in (Status.closing, Status.closed):
            return
        if self.status == Status.running and not self._is_cut_off():
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(LISTEN_TIMEOUT_S):
                    await self.scheduler_comm.sampan_shutdown()
        await super()._close()
        if not await asyncio.to_thread(self._host.await_end, CLOSE_TIMEOUT_S):
            raise ClusterFailed(
                f"The host of {self.name} has not ended after {CLOSE_TIMEOUT_S:.0f} s; its log ends:",
                await asyncio.to_thread(self._host.log, TAIL_LINES),
            )

    def close(self, timeout: float | None = None) -> Any:
        """End the cluster for everybody. Clusters that are not closed end by themselves after `idle_timeout`."""
        if self.status == Status.closed:
            return NoOpAwaitable() if self.asynchronous else None
        result = super().close(timeout)
        if not self.asynchronous:
            self._loop_runner.stop()
        return result

    def __del__(self) -> None:
        """Dropping the object is no leak: the cluster goes on and can be attached to."""


_parameters = list(inspect.signature(Cluster.__init__).parameters.values())[1:]
Cluster.__signature__ = inspect.Signature(_parameters)  # else help and completion show what __new__ takes: anything


def _need_session() -> Session:
    session = read_session()
    if session is None:
        raise ClusterNotFound("There is no compute service here: a direct cluster cannot be listed or attached to")
    return session


def check_parity(host: Mapping[str, Any]) -> None:
    """Refuse to work with a host of another environment."""
    compared = parity.compare(parity.versions(), host["versions"], here="cluster")
    if compared.errors:
        raise EnvironmentDiffers(compared.errors, f"The cluster {host['name']} runs in another environment")
