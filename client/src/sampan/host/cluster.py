"""How many workers there are: Dask's SpecCluster with ends taken from the service's feed and graceful ways down."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Collection, Mapping
from typing import Any

from distributed.core import Status
from distributed.deploy.cluster import Cluster
from distributed.deploy.spec import SpecCluster

from sampan.host.decide import Brake, Ended, choose_to_retire, plan_changes, read_ended
from sampan.host.going import Going
from sampan.host.jobs import Jobs, WorkerJob
from sampan.host.options import DEFAULT_SIZE, worker_name

log = logging.getLogger("sampan.host")

RETRY_CAPPED_S = 5.0
NOTES = 50


class HostCluster(SpecCluster):
    """The workers of one cluster. Wishes (`wanted`) stay; what a limit or the brake holds back is asked for later."""

    def __init__(self, *, jobs: Jobs, scheduler: Mapping[str, Any], security: Any, name: str, size: str) -> None:
        self.jobs = jobs
        self.default_size = size or DEFAULT_SIZE
        self.wanted: Counter[str] = Counter()
        self.caps: dict[str, int] = {}
        self.capped_at_s = 0.0
        self.refusal: dict[str, Any] | None = None
        self.brake = Brake()
        self.rested: Counter[str] | None = None
        self.going = Going(self)
        self.came: set[str] = set()
        self.ended: set[str] = set()
        self.notes: deque[dict[str, Any]] = deque(maxlen=NOTES)
        self.note_count = 0
        self.last_jobs: list[Mapping[str, Any]] = []
        self._change = asyncio.Lock()
        self._background: set[asyncio.Task[Any]] = set()
        super().__init__(
            scheduler=dict(scheduler),
            worker={"cls": WorkerJob, "options": {"jobs": jobs, "size": self.default_size}},
            asynchronous=True,
            security=security,
            name=name,
            shutdown_on_close=False,
        )

    # What Dask's Adaptive reads.

    @property
    def observed(self) -> set[str]:
        """Names that are there, from the scheduler itself."""
        return {worker.name for worker in self.scheduler.workers.values()}

    def find_missing(self) -> set[str]:
        """Names that were there, are not let go, and are gone: their end is not known from the feed yet."""
        observed = self.observed
        self.came = (self.came & self.plan) | observed
        return (self.came & self.plan) - observed

    @property
    def plan(self) -> set[str]:
        return set(self.worker_spec) - self.going.names

    @property
    def requested(self) -> set[str]:
        return set(self.workers) & self.plan

    def count_planned(self) -> Counter[str]:
        """How many workers there are to be, by size; those that go are not among them."""
        return Counter(self.size_of(name) for name in self.plan)

    def size_of(self, name: str) -> str:
        """The size of a worker that there is, or is to be."""
        size: str = self.worker_spec[name]["options"]["size"]
        return size

    async def scale(self, n: int = 0) -> None:
        """`n` workers of the default size (what Adaptive and closing call)."""
        if self.status in (Status.closing, Status.closed):
            self.worker_spec.clear()
            return
        await self.scale_to({self.default_size: n})

    def choose_to_close(self, target: int) -> list[str]:
        """Which of those that are there and do not go already to let go, so that `target` stay."""
        staying = self.plan & self.observed
        chosen = [name for name in self._in_order_of_closing() if name in staying]
        return chosen[: max(0, len(staying) - target)]

    def _in_order_of_closing(self) -> list[str]:
        """The names of all that are there, in Dask's order: idle ones first."""
        return list(self.scheduler.workers_to_close(n=len(self.scheduler.workers), attribute="name"))

    async def scale_down(self, workers: Any) -> None:
        """Adaptive does not want these any more."""
        names = self.plan & set(workers)
        self.wanted -= Counter(self.size_of(name) for name in names)
        self.going.let_go(names)

    # Wishes.

    async def scale_to(self, counts: Mapping[str, int]) -> None:
        """Wish for these counts by size (sizes not named: none) and act on it."""
        self.rested = None
        self.wanted = Counter({size: count for size, count in counts.items() if count > 0})
        await self.settle()

    def release(self) -> None:
        """A person asked anew: forget the brake and ask the service again about limits."""
        self.brake.release()
        self.caps.clear()
        self.refusal = None

    async def settle(self) -> None:
        """Bring the workers towards the wish, as far as caps and brake allow."""
        async with self._change:
            changes = plan_changes(self.wanted, self.count_planned(), self.caps, self.brake.cause is not None)
            for size, change in changes.items():
                if change > 0:
                    self._add(size, change)
                else:
                    self._retire(size, -change)
            if any(change > 0 for change in changes.values()):
                await self._correct_state()
                await self._drop_refused()

    def _add(self, size: str, count: int) -> None:
        for _ in range(count):
            name = worker_name(self.name, self._i)
            self._i += 1
            self.worker_spec[name] = {"cls": WorkerJob, "options": {"jobs": self.jobs, "size": size}}

    def _retire(self, size: str, count: int) -> None:
        plan = self.plan
        names = [name for name in self.worker_spec if name in plan and self.size_of(name) == size]
        self.going.let_go(choose_to_retire(names, self.observed, self._in_order_of_closing(), count))

    def spawn(self, coroutine: Any) -> None:
        """Let it run beside everything else."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def remove(self, names: Collection[str]) -> None:
        """Forget these and stop their jobs."""
        async with self._change:
            for name in names:
                self.worker_spec.pop(name, None)
            await self._correct_state()

    async def _drop_refused(self) -> None:
        """Forget what the service refused and remember what it allows."""
        for name, worker in list(self.workers.items()):
            if worker.outcome is None or worker.outcome.problem is None:
                continue
            size = worker.size
            del self.workers[name]
            self.worker_spec.pop(name, None)
            await worker.close()
            problem = worker.outcome.problem
            self.caps[size] = self.count_planned()[size]
            self.capped_at_s = time.monotonic()
            if self.caps[size] + self.going.count(size) >= self.wanted[size]:
                continue  # it was to be a replacement, and nobody but the host knows that one goes
            if self.refusal is None or self.refusal.get("detail") != problem.get("detail"):
                self.refusal = dict(problem)
                self.note("refused", f"not all workers: {problem.get('detail') or problem.get('title')}")

    # What the feed says.

    async def on_feed(self, answer: Mapping[str, Any]) -> None:
        """The full state of our jobs: bury the dead, replace them, ask again when a limit moved."""
        self.last_jobs = answer["jobs"]
        await self._stop_strays(answer["jobs"])
        ended = [end for job in answer["jobs"] if (end := read_ended(job)) is not None]
        for end in ended:
            await self._bury(end)
        before, self.ended = self.ended, {end.job_id for end in ended}
        made_room = not self.ended <= before or time.monotonic() - self.capped_at_s > RETRY_CAPPED_S
        if self.caps and answer.get("allowed_now") and made_room:
            self.caps.clear()
        if not self.caps:
            self.refusal = None
        if self.status == Status.running:
            await self.settle()

    async def _stop_strays(self, jobs: Any) -> None:
        """Jobs of this cluster that nobody here wants (a submit whose answer never came): stop them."""
        for job in jobs:
            known = job["name"] in self.worker_spec or job["name"] in self.workers or job["name"] in self.jobs.early
            if not known and job["state"] not in ("stopping", "ended") and job["wanted"] == "run":
                log.info("Stopping %s (%s), which is not wanted here", job["name"], job["id"])
                await self.jobs.cancel(job["id"])

    async def _bury(self, end: Ended) -> None:
        worker = self.workers.get(end.name)
        if worker is None or worker.job_id != end.job_id:
            return
        del self.workers[end.name]
        worker.status = Status.closed
        asked = end.asked or end.name in self.going.draining or end.name not in self.worker_spec
        counts = end.name in self.plan
        self.going.leaving.discard(end.name)
        spec = self.worker_spec.pop(end.name, None)
        arrived = end.name in self.observed or end.name in self._arrived
        for address, state in list(self.scheduler.workers.items()):
            if state.name == end.name:  # do not wait for timeouts of a process that is gone
                await self.scheduler.remove_worker(address, stimulus_id=f"job-ended-{end.job_id}", close=False)
        if asked:
            if spec is not None and end.asked and counts:
                self.wanted[spec["options"]["size"]] -= 1
                self.note("stopped", f"worker {end.name} was stopped by somebody else: {end.text}")
            return
        self.note("ended", f"worker {end.name} ended: {end.text}", job=end.job_id)
        self.brake.record(time.monotonic(), end, sum(self.wanted.values()), arrived)
        if self.brake.cause is not None:
            self.note("braked", f"no more replacements until you scale again: {self.brake.cause}", job=end.job_id)

    @property
    def _arrived(self) -> set[str]:
        return {job["name"] for job in self.last_jobs if job.get("claimed_at")}

    def note(self, kind: str, text: str, **facts: Any) -> None:
        """Something its owner should hear of; kernels show it once."""
        log.warning("%s", text)
        self.note_count += 1
        self.notes.append({"number": self.note_count, "kind": kind, "text": text, **facts})

    def _update_worker_status(self, op: str, msg: Any) -> None:
        """Dask's own handling re-creates a lost worker under its old name; here the feed decides.

        A worker that was let go while it registered is removed without ever having been added: no error.
        """
        if op == "add" or msg in self.scheduler_info["workers"]:
            Cluster._update_worker_status(self, op, msg)

    # Rest.

    async def rest(self, minimum: int) -> None:
        """Nothing to do for long: down to the minimum, remembering what was wished."""
        if self.rested is None and sum(self.wanted.values()) > minimum:
            self.rested = Counter(self.wanted)
            self.note("rested", f"idle: workers go down to {minimum} and come back with the next task")
            self.wanted = Counter({self.default_size: minimum} if minimum else {})
            await self.settle()

    async def wake(self) -> None:
        """There is work again: what was wished before the rest."""
        if self.rested is not None:
            self.wanted, self.rested = self.rested, None
            await self.settle()
