"""Any mix of wishes, faults, late listings, restarts and two services on one store comes to rest, truthfully."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Awaitable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sampan_hub.backends.base import BackendError, Listing
from sampan_hub.backends.fake import FakeBackend
from sampan_hub.jobs.drafts import BatchDraft, ClaimRefused, NoSuchJob, Selection
from sampan_hub.jobs.model import Exit, Job, Kind, Resources, State, Wanted
from sampan_hub.jobs.plan import BackendView, Cancel, CancelSent, Forget, Record, Rules, Submit, World, plan
from sampan_hub.jobs.plan.sight import ALIVE
from sampan_hub.jobs.spec import Place, SpecRules, make_spec
from sampan_hub.jobs.store import Store
from sampan_hub.jobs.store.tables import job_events, job_secrets, jobs, site
from sampan_hub.settings.model import Environment
from tests.unit.stores import INSTANCE, NO_LIMITS, NOW, make_draft, notebook_draft, open_store

SIGNING = b"signing"
RULES = Rules(instance=INSTANCE, signing_key=SIGNING, unknown_grace=timedelta(seconds=60))
SPECS = SpecRules(
    b"service", SIGNING, {"default": Environment(prefix=Path("/env"))}, {"fake": Place("http://s", lambda _: 1000)}
)
ANY = st.integers(0, 5)
T = TypeVar("T")


def now_of(awaitable: Awaitable[T]) -> T:
    """Fake calls never wait, so a loop is not needed to run them."""
    coroutine = awaitable.__await__()
    try:
        next(coroutine)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    raise AssertionError("a fake call waited")


@cache
def empty_database() -> Path:
    """A migrated database to copy, because making one costs more than an example."""
    path = Path(tempfile.mkdtemp(prefix="sampan-machine-")) / "empty.sqlite"
    atexit.register(shutil.rmtree, path.parent)
    store = open_store(f"sqlite:///{path}")
    store.close()
    return path


class Service:
    """One service's memory: what it last saw, since when it is up, calls it decided on and has not made yet."""

    def __init__(self, store: Store, backend: FakeBackend, now: datetime) -> None:
        self.store = store
        self.backend = backend
        self.up_since = now
        self.listings: tuple[Listing, ...] = ()
        self.failing_since: datetime | None = None
        self.cancels: dict[str, CancelSent] = {}
        self.calls: list[Submit | Cancel | Forget] = []
        self.late: list[Listing] = []

    def look(self, now: datetime, *, keep: bool = True) -> None:
        try:
            listing = now_of(self.backend.observe())
        except BackendError:
            self.failing_since = self.failing_since or now
            return
        if not keep:
            self.late.append(listing)
            return
        self.take(listing)

    def take(self, listing: Listing) -> None:
        self.listings = (*self.listings, listing)[-2:]
        self.failing_since = None

    def plan(self, now: datetime) -> bool:
        view = BackendView(
            "fake",
            self.backend.submit_timeout_s,
            self.listings,
            self.failing_since,
            now_of(self.backend.capacity()),
            dict(self.cancels),
        )
        shown = [seen.job_id for seen in view.latest.jobs if seen.phase in ALIVE] if view.latest else []
        world = World(self.store.recorded(shown), {"fake": view}, self.up_since)
        actions = plan(world, now, RULES)
        applied = self.store.apply([a for a in actions if not isinstance(a, Cancel | Forget)], now)
        self.calls += applied.submit
        for action in actions:
            if isinstance(action, Cancel):
                for job_id in action.job_ids:
                    sent = self.cancels.get(job_id)
                    self.cancels[job_id] = CancelSent(sent.count + 1 if sent else 1, now)
            if isinstance(action, Cancel | Forget):
                self.calls.append(action)
        return applied.changed

    def call(self, now: datetime, *, record: bool = True) -> None:
        """Make the oldest call; `record` False: the process dies between the call and its record."""
        if not self.calls:
            return
        call = self.calls.pop(0)
        try:
            if isinstance(call, Submit):
                self._submit(call, now, record=record)
            elif isinstance(call, Cancel):
                now_of(self.backend.cancel(call.job_ids))
            else:
                now_of(self.backend.forget(call.job_ids))
        except BackendError:
            return

    def _submit(self, call: Submit, now: datetime, *, record: bool) -> None:
        since = min(job.state_since for job in call.jobs if job.state_since)
        if (now - since).total_seconds() >= self.backend.submit_timeout_s:
            return  # too late: others may have counted on it
        submitted = now_of(self.backend.submit([make_spec(job, SPECS) for job in call.jobs]))
        if record:
            pairs = [(job, job.with_(state=State.QUEUED)) for job in call.jobs if job.id in submitted.accepted]
            self.store.apply([Record(job, after) for job, after in pairs], now)


class Machine(RuleBasedStateMachine):
    """The world: a clock, one backend, one store, two services, people."""

    @initialize(queues=st.booleans(), complete_history=st.booleans(), start_delay_s=st.sampled_from([0.0, 3.0]))
    def begin(self, queues: bool, complete_history: bool, start_delay_s: float) -> None:
        self.folder = tempfile.mkdtemp(prefix="sampan-machine-")
        self.now = NOW
        shutil.copy(empty_database(), f"{self.folder}/sampan.sqlite")
        self.store = Store(f"sqlite:///{self.folder}/sampan.sqlite", secrets_key=b"key")
        self.backend = FakeBackend(
            start_delay_s=start_delay_s,
            submit_timeout_s=5.0,
            queues=queues,
            total=Resources(4000, 2**40),
            complete_history=complete_history,
            clock=lambda: self.now,
        )
        self.services = [self.make_service(), self.make_service()]
        self.drafts = 0
        self.asked: dict[str, Job] = {}
        self.stops: set[str] = set()
        self.self_ended: set[str] = set()
        self.claims: defaultdict[str, set[str]] = defaultdict(set)
        self.complete_history = complete_history

    def make_service(self) -> Service:
        return Service(self.store, self.backend, self.now)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            try:
                self.heal_and_check()
            finally:
                self.store.close()
                shutil.rmtree(self.folder)

    # People

    @rule(items=st.integers(1, 3), turned=st.booleans())
    def submit(self, items: int, turned: bool) -> None:
        self._remember(make_draft(items))
        if turned:
            self.take_turn(self.services[0])

    @rule(owner=st.sampled_from(["ana", "ben"]), children=st.integers(0, 2), turned=st.booleans())
    def submit_notebook(self, owner: str, children: int, turned: bool) -> None:
        before = set(self.asked)
        self._remember(notebook_draft(owner))
        for job_id in set(self.asked) - before:
            if children:
                self._remember(make_draft(children, parent=job_id))
        if turned:
            self.take_turn(self.services[1])

    @precondition(lambda self: any(job.kind is Kind.NOTEBOOK for job in self.asked.values()))
    @rule(which=ANY)
    def submit_child(self, which: int) -> None:
        notebooks = [job.id for job in self.asked.values() if job.kind is Kind.NOTEBOOK]
        self._remember(make_draft(parent=notebooks[which % len(notebooks)]))

    def _remember(self, draft: BatchDraft) -> None:
        # Keys decide the order among equals, so an example repeated must use the same.
        self.drafts += 1
        outcome = self.store.submit(replace(draft, key=f"key-{self.drafts:08}"), NO_LIMITS, self.now)
        self.asked.update((item.job.id, item.job) for item in outcome.items if item.job)

    @precondition(lambda self: self.asked)
    @rule(which=ANY)
    def stop(self, which: int) -> None:
        job_id = list(self.asked)[which % len(self.asked)]
        self.store.stop([job_id], by="ana", reason="asked", now=self.now)
        self.stops.add(job_id)

    # Processes

    @precondition(lambda self: self.choose_running(0))
    @rule(which=ANY)
    def claim(self, which: int) -> None:
        job_id = self.choose_running(which)
        if job_id is not None:
            try:
                self.store.claim(job_id, self.backend.run_of(job_id).token, self.now)
                self.claims[job_id].add(self.backend.run_of(job_id).token)
            except (ClaimRefused, NoSuchJob):
                self.end_by_itself(job_id)

    @precondition(lambda self: self.choose_running(0))
    @rule(which=ANY)
    def exit(self, which: int) -> None:
        job_id = self.choose_running(which)
        if job_id is not None:
            self.end_by_itself(job_id)

    def choose_running(self, which: int) -> str | None:
        """Ids are random, so choices are made by the order of asking."""
        running = [job_id for job_id in self.asked if job_id in self.backend.running()]
        return running[which % len(running)] if running else None

    def end_by_itself(self, job_id: str) -> None:
        self.self_ended.add(job_id)
        self.backend.finish(job_id, Exit(code=1))

    # Faults

    @rule(call=st.sampled_from(["submit", "cancel", "observe"]), lose=st.booleans(), times=st.integers(1, 2))
    def break_calls(self, call: str, lose: bool, times: int) -> None:
        counter = self.backend.faults.lose_reply if lose else self.backend.faults.fail
        counter[call] += times

    @rule()
    def ignore_a_cancel(self) -> None:
        self.backend.faults.ignore_cancels += 1

    @rule(which=st.integers(0, 1))
    def restart(self, which: int) -> None:
        """What a service decided and did not do is forgotten with it."""
        self.services[which] = self.make_service()

    @rule()
    def wipe(self) -> None:
        """The database is lost; what runs is all there is to know. (What is being asked of a backend is lost too.)"""
        with self.store._database.write() as tx:
            for table in (job_secrets, job_events, jobs):
                tx.conn.execute(table.delete())
            tx.conn.execute(site.update().values(revision=tx.revision))
        self.services = [self.make_service(), self.make_service()]
        running = self.backend.running()
        self.asked = {job_id: job for job_id, job in self.asked.items() if job_id in running}

    # Services: a whole turn, or step by step in any order

    @rule(which=st.integers(0, 1))
    def turn(self, which: int) -> None:
        self.take_turn(self.services[which])

    def take_turn(self, service: Service) -> None:
        service.look(self.now)
        while service.plan(self.now):
            pass
        while service.calls:
            service.call(self.now)

    @rule(seconds=st.sampled_from([0.1, 1, 6, 12, 31, 61]))
    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(which=st.integers(0, 1), keep=st.booleans())
    def look(self, which: int, keep: bool) -> None:
        self.services[which].look(self.now, keep=keep)

    @precondition(lambda self: any(service.late for service in self.services))
    @rule()
    def take_late(self) -> None:
        service = next(service for service in self.services if service.late)
        service.take(service.late.pop(0))

    @rule(which=st.integers(0, 1))
    def plan(self, which: int) -> None:
        self.services[which].plan(self.now)

    @precondition(lambda self: any(service.calls for service in self.services))
    @rule(record=st.booleans())
    def call(self, record: bool) -> None:
        next(service for service in self.services if service.calls).call(self.now, record=record)

    # What must always hold

    @invariant()
    def never_two_runs_of_one_key(self) -> None:
        if hasattr(self, "backend"):
            # Without a history, a run that ended before anybody saw it or heard its claim was never there.
            again = any(count > 1 for count in self.backend.runs_begun.values())
            assert not again or not self.complete_history
            assert all(len(runs) == 1 for runs in self.claims.values())

    @invariant()
    def never_ended_while_it_runs(self) -> None:
        if not hasattr(self, "store"):
            return
        _, ended = self.store.jobs(Selection(states=frozenset({State.ENDED})))
        assert not {job.id for job in ended} & self.backend.running()

    @invariant()
    def never_stopped_without_a_cause(self) -> None:
        if not hasattr(self, "store"):
            return
        for job in self.store.jobs(Selection(states=frozenset(State)))[1]:
            if job.wanted is Wanted.STOP:
                assert job.id in self.stops or job.parent is not None or job.lost, job

    def heal_and_check(self) -> None:
        """Faults end; after a bounded number of rounds the store and the backend tell the same."""
        self.backend.faults.fail.clear()
        self.backend.faults.lose_reply.clear()
        self.backend.faults.ignore_cancels = 0
        for _ in range(14):
            self.now += timedelta(seconds=7)
            for service in self.services:
                while service.late:
                    service.late.pop()
                self.take_turn(service)
        self.never_two_runs_of_one_key()
        running = self.backend.running()
        for job in self.store.jobs(Selection(states=frozenset(State)))[1]:
            self.check_rest(job, running)
        assert running <= {job.id for job in self.store.jobs(Selection())[1]}

    def find(self, job_id: str | None) -> Job | None:
        try:
            return self.store.job(job_id) if job_id else None
        except NoSuchJob:
            return None

    def check_rest(self, job: Job, running: frozenset[str]) -> None:
        parent = self.find(job.parent)
        if job.id in running:
            assert job.state in {State.STARTING, State.RUNNING}, job
            assert job.wanted is Wanted.RUN, job
            assert job.unknown_since is None, job
            assert job.parent is None or (parent is not None and not parent.is_ended), job
        elif job.state is State.ACCEPTED:
            assert job.reason is not None, job
            assert job.reason.code == "waiting-for-capacity", job
        elif job.state is not State.ENDED:
            # Without a history an end that leaves nothing behind at all stays unknown: that is not proof.
            assert job.unknown_since is not None, job
            assert not self.complete_history, job
            assert job.wanted is Wanted.STOP or job.id in self.self_ended, job


Machine.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestMachine = Machine.TestCase
