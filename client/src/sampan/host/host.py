"""One cluster's host, wired: scheduler, workers, feed, idleness, the requests of kernels, the facts on disk."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from sampan._job import report
from sampan.errors import NotAccepted, Refused, SampanError, ServiceUnavailable
from sampan.host.adapting import Adapting
from sampan.host.cluster import HostCluster
from sampan.host.deadlines import Deadlines
from sampan.host.decide import Activity, IdleClock
from sampan.host.jobs import Jobs, read_outcomes
from sampan.host.options import DEFAULT_SIZE, make_offers_query
from sampan.host.scheduler import SampanScheduler
from sampan.host.start import Registered
from sampan.network import bracketed
from sampan.rundir import clear, start_time, write_json
from sampan.security import make_security, make_server_context

log = logging.getLogger("sampan.host")

FEED_WAIT_S = 20
FEED_RETRY_S = 0.5
LOOK_INTERVAL_S = 0.5
BUSY_REPORT_S = 30.0
MISSING_REPORT_S = 3.0
CLOSE_S = 20.0


class Host:
    """Everything of one running cluster."""

    def __init__(self, folder: Path, made: Registered) -> None:
        self.folder = folder
        self.made = made
        self.options = made.options
        self.service = made.service
        early = read_outcomes(made.early_names, made.early_answer) if made.early_answer else {}
        self.jobs = Jobs(made.service, made.base, early)
        security = make_security(made.keys)
        scheduler = {
            "cls": SampanScheduler,
            "options": {
                "host": f"tls://{bracketed(made.address)}",
                "port": 0,
                "ports": made.ports,
                "security": security,
                "dashboard_socket": folder / "dash.sock",
            },
        }
        self.cluster = HostCluster(
            jobs=self.jobs, scheduler=scheduler, security=security, name=self.options.name, size=self.options.size
        )
        query = make_offers_query(self.options)
        ask_offers = partial(made.notebook.call_async, "GET", "/offers", query=query)
        self.adapting = Adapting(self.cluster, self.options.size, ask_offers)
        self.deadlines = Deadlines(self.cluster)
        self.clock = IdleClock(self.options.idle_timeout_s)
        self.stop = asyncio.Event()
        self.why_stopped = ""
        self.session_over = False
        self.pages: str | None = None
        """Where kernels elsewhere find the dashboard."""
        self.transitions = -1
        self.last_state: dict[str, Any] = {}
        self.busy_told_at_s = 0.0
        self.missing_told_at_s = 0.0
        self.busy_told: bool | None = None

    @property
    def scheduler(self) -> SampanScheduler:
        scheduler: SampanScheduler = self.cluster.scheduler
        return scheduler

    def end(self, why: str, session_over: bool = False) -> None:
        """Begin the end; `why` goes to the log. `session_over`: nobody is left who could read that log."""
        self.session_over = self.session_over or session_over
        self.why_stopped = self.why_stopped or why
        self.stop.set()

    # Requests of kernels, over the scheduler's own TLS port.

    async def sampan_scale(self, sizes: dict[str, int]) -> dict[str, Any]:
        """Fixed numbers by size; ends adapting."""
        self.adapting.stop()
        self.cluster.release()
        await self.cluster.scale_to({size or self.cluster.default_size: count for size, count in sizes.items()})
        return self.info()

    async def sampan_adapt(self, minimum: int, maximum: int | None) -> dict[str, Any]:
        """Between these numbers, as the tasks need. Without a maximum: what one may have now."""
        self.cluster.release()
        await self.adapting.begin(minimum, maximum)
        return self.info()

    async def sampan_info(self) -> dict[str, Any]:
        return self.info()

    async def sampan_describe(self) -> dict[str, Any]:
        return self.describe()

    async def sampan_shutdown(self) -> str:
        self.end("closed by its owner")
        return "OK"

    def info(self) -> dict[str, Any]:
        """What kernels and JupyterLab's sidebar show: numbers, mode, what went wrong lately."""
        workers = list(self.scheduler.workers.values())
        wanted = self.cluster.rested or self.cluster.wanted
        return {
            "name": self.options.name,
            "id": self.made.cluster_id,
            "status": "stopping" if self.stop.is_set() else "running",
            "workers": len(workers),
            "wanted": dict(wanted),
            "cores": sum(worker.nthreads for worker in workers),
            "memory_bytes": sum(worker.memory_limit or 0 for worker in workers),
            "adapt": list(self.adapting.bounds) if self.adapting.bounds else None,
            "rested": self.cluster.rested is not None,
            "braked": self.cluster.brake.cause,
            "refused": self.cluster.refusal,
            "planned": len(self.cluster.plan),
            "leaving": sorted(self.cluster.going.names & self.cluster.observed),
            "notes": list(self.cluster.notes),
            "note_count": self.cluster.note_count,
        }

    # Loops.

    async def follow_feed(self) -> None:
        """Ask for the state of our jobs again and again; this is also what keeps the cluster's lease."""
        revision: int | None = None
        while not self.stop.is_set():
            query = {"cluster": self.made.cluster_id, "revision": revision, "wait": FEED_WAIT_S if revision else None}
            try:
                answer = await self.service.call_async("GET", "/jobs", query=query, timeout_s=FEED_WAIT_S + 15)
            except ServiceUnavailable:
                await asyncio.sleep(FEED_RETRY_S)
                continue
            except NotAccepted as error:
                self.end(f"the service has ended this cluster: {error}")
                return
            except Refused as error:
                log.error("The feed was refused: %s", error)
                await asyncio.sleep(FEED_RETRY_S * 10)
                continue
            revision = answer["revision"]
            row = next((c for c in answer.get("clusters", ()) if c["id"] == self.made.cluster_id), None)
            if row is not None and row["state"] == "ended":
                self.end(f"the service has ended this cluster: {(row.get('reason') or {}).get('text', '')}")
                return
            if row is not None and row["scheduler"] != self.scheduler.address:
                await self.tell_where()
            await self.cluster.on_feed(answer | {"jobs": [job for job in answer["jobs"] if job["kind"] == "worker"]})
            await self.adapting.follow()

    def look(self) -> Activity:
        """What the scheduler is needed for right now."""
        scheduler = self.scheduler
        moved = scheduler.transition_counter != self.transitions
        self.transitions = scheduler.transition_counter
        waiting = bool(scheduler.queued) or bool(scheduler.unrunnable)
        running = any(worker.processing for worker in scheduler.workers.values())
        connected = bool(scheduler.client_comms) or scheduler.count_subscribers() > 1  # one of them is this host
        arriving = connected and not self.cluster.plan <= self.cluster.observed  # a queue is no idleness
        return Activity(
            tasks=moved or waiting or running or arriving,
            held=any(worker.has_what for worker in scheduler.workers.values()),
            needed=connected or bool(scheduler.extensions["publish"].datasets),
        )

    async def watch(self) -> None:
        """Twice a second: facts to disk, idleness."""
        while not self.stop.is_set():
            activity = self.look()
            verdict = self.clock.look(time.monotonic(), activity)
            if verdict == "end":
                self.end(f"nobody used it for {self.clock.timeout_s:.0f} s")
            elif verdict == "rest" and self.adapting.bounds is None:
                await self.cluster.rest(0)
            elif verdict == "busy":
                await self.cluster.wake()
            self.write_state()
            await self.tell_busy(activity.tasks)
            await self.tell_missing()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_INTERVAL_S):
                    await self.stop.wait()

    def write_state(self) -> None:
        """state.json, when anything in it changed."""
        state = self.info()
        if state != self.last_state:
            self.last_state = state
            write_json(self.folder / "state.json", {**state, "updated_at": time.time()})

    async def tell_busy(self, busy: bool) -> None:
        """Let the service know that there is work: on every change, and now and then while it lasts."""
        now_s = time.monotonic()
        if busy == self.busy_told and (not busy or now_s - self.busy_told_at_s < BUSY_REPORT_S):
            return
        self.busy_told, self.busy_told_at_s = busy, now_s
        try:
            await self.put({"busy": busy}, timeout_s=5.0)
        except SampanError as error:
            log.info("The service was not told that this cluster is busy=%s: %s", busy, error)

    async def tell_missing(self) -> None:
        """A worker's connection is gone: the service looks at once, and its feed says what became of the job."""
        now_s = time.monotonic()
        if not self.cluster.find_missing() or now_s - self.missing_told_at_s < MISSING_REPORT_S:
            return
        self.missing_told_at_s = now_s
        try:
            await self.put({"look": True}, timeout_s=5.0)
        except SampanError as error:
            log.info("The service was not told that a worker is missing: %s", error)

    async def tell_where(self) -> None:
        """Workers learn the scheduler's address from the service: a restored database may not have it."""
        try:
            await self.put(self.whereabouts(), timeout_s=5.0)
        except SampanError as error:
            log.warning("The service was not told where the scheduler is; it is told again: %s", error)

    async def put(self, report: dict[str, Any], timeout_s: float = 30.0) -> None:
        await self.service.call_async("PUT", f"/clusters/{self.made.cluster_id}", report, timeout_s=timeout_s)

    # Life.

    async def begin(self) -> None:
        """Listen, take the early workers, tell the service where, then tell the kernel.

        In this order: who hears of the address may wish anew, and must not be overtaken by the first wish.
        """
        await self.cluster._start()
        for name in ("sampan_scale", "sampan_adapt", "sampan_info", "sampan_describe", "sampan_shutdown"):
            self.scheduler.handlers[name] = getattr(self, name)
        if self.made.job is not None:
            context = make_server_context(self.made.keys)
            self.pages = self.scheduler.serve_pages(self.made.address, context, self.info)
        if self.options.adapt is not None:
            await self.sampan_adapt(*self.options.adapt)
        else:
            await self.cluster.scale_to(
                Counter({size or DEFAULT_SIZE: count for size, count in self.options.workers.items()})
            )
        await self.jobs.call_patiently("PUT", f"/clusters/{self.made.cluster_id}", self.whereabouts())
        if self.made.job is not None:
            await asyncio.to_thread(report, self.made.job)
        self.write_state()
        write_json(self.folder / "host.json", self.describe())

    def whereabouts(self) -> dict[str, Any]:
        """What workers and, of a host elsewhere, kernels have to know."""
        told = {"scheduler": self.scheduler.address, "state": "running"}
        return told if self.pages is None else {**told, "dashboard": self.pages}

    def describe(self) -> dict[str, Any]:
        """host.json: where this host is and what it was made with."""
        return {
            "name": self.options.name,
            "id": self.made.cluster_id,
            "pid": os.getpid(),
            "pid_started": start_time(os.getpid()),
            "started_at": time.time(),
            "scheduler": self.scheduler.address,
            "size": self.options.size,
            **make_offers_query(self.options),
            "interpreter": self.options.interpreter,
            "versions": self.options.versions,
            "certificate": str(self.made.keys.certificate),
            "key": str(self.made.keys.key),
            "dashboard_socket": str(self.folder / "dash.sock"),
        }

    async def finish(self) -> None:
        """Stop the workers, tell the service, leave only the log behind, and that only while the session lasts."""
        log.info("Ending: %s", self.why_stopped)
        self.write_state()
        self.adapting.stop()
        with contextlib.suppress(SampanError):
            await self.put({"state": "closing"}, timeout_s=5.0)
        try:
            await asyncio.wait_for(self.cluster._close(), CLOSE_S)
        except TimeoutError:
            log.warning("The workers' end was not confirmed in %s s; the service sees to it", CLOSE_S)
        for name in ("host.json", "state.json", "start.json", "dash.sock"):
            (self.folder / name).unlink(missing_ok=True)
        if self.session_over:
            clear(self.folder.parent)
