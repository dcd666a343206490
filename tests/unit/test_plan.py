"""The plan's rules, one by one, on plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import pytest

from sampan_hub.backends.base import Capacity, Listing, Observed, Phase
from sampan_hub.jobs.model import (
    Cluster,
    ClusterState,
    Exit,
    Job,
    Kind,
    Reason,
    Resources,
    RunIdentity,
    State,
    Wanted,
)
from sampan_hub.jobs.plan import (
    Action,
    Adopt,
    BackendView,
    Cancel,
    CancelSent,
    EndCluster,
    Forget,
    Record,
    Recorded,
    Report,
    Rules,
    Submit,
    World,
    plan,
)
from sampan_hub.jobs.spec import make_identity
from tests.unit.stores import GIB, INSTANCE, NOW, SECOND

KEY = b"signing"
RULES = Rules(instance=INSTANCE, signing_key=KEY, unknown_grace=60 * SECOND, start_limit=timedelta(hours=2))
LONG_AGO = NOW - timedelta(hours=1)
A = TypeVar("A", bound=Action)


def make_job(number: int = 1, state: State = State.RUNNING, **changes: Any) -> Job:
    job = Job(
        id=f"{INSTANCE}.aaaaaaaaaaaaaaa{chr(96 + number)}",
        kind=Kind.WORKER,
        name=f"w{number}",
        owner="ana",
        project="p",
        size="small",
        resources=Resources(1000, GIB),
        environment="default",
        backend="b",
        batch="batch",
        index=number,
        created_at=LONG_AGO,
        state=state,
        state_since=LONG_AGO,
        started_at=LONG_AGO if state in {State.RUNNING, State.STOPPING} else None,
        revision=1,
    )
    return replace(job, **changes)


def show(job: Job, phase: Phase = Phase.RUNNING, **changes: Any) -> Observed:
    return replace(Observed(job.id, phase, job.owner, make_identity(job, KEY, 1000)), **changes)


def listing(*seen: Observed, at: datetime = NOW, complete: bool = True, leftovers: tuple[str, ...] = ()) -> Listing:
    return Listing("b", at - SECOND, at, seen, complete, leftovers)


def make_world(jobs: Sequence[Job] = (), *listings: Listing, **changes: Any) -> World:
    recorded_fields = Recorded.__dataclass_fields__.keys() & changes.keys()
    recorded = Recorded(jobs=tuple(jobs), **{name: changes.pop(name) for name in recorded_fields})
    up_since = changes.pop("up_since", LONG_AGO)
    queue = Capacity(total=None, free=None, queues=True)
    view = BackendView("b", 5.0, tuple(listings), **{"capacity": queue, **changes})
    return World(recorded, {"b": view}, up_since)


def of(kind: type[A], actions: Sequence[Action]) -> list[A]:
    return [action for action in actions if isinstance(action, kind)]


def after(world: World, now: datetime = NOW, rules: Rules = RULES) -> dict[str, Job]:
    return {action.after.id: action.after for action in of(Record, plan(world, now, rules))}


def only(world: World, now: datetime = NOW, rules: Rules = RULES) -> Job | None:
    records = after(world, now, rules)
    assert len(records) <= 1
    return next(iter(records.values()), None)


# Submitting


def test_accepted_jobs_are_submitted_in_order_one_call_a_batch() -> None:
    jobs = [make_job(1, State.ACCEPTED), make_job(2, State.ACCEPTED), make_job(3, State.ACCEPTED, batch="other")]
    calls = of(Submit, plan(make_world(jobs, listing()), NOW, RULES))
    assert [[job.name for job in call.jobs] for call in calls] == [["w1", "w2"], ["w3"]]


@pytest.mark.parametrize("changes", [{"capacity": None}, {"failing_since": NOW}])
def test_nothing_is_submitted_to_a_backend_that_has_not_answered(changes: dict[str, Any]) -> None:
    world = make_world([make_job(1, State.ACCEPTED)], listing(), **changes)
    assert of(Submit, plan(world, NOW, RULES)) == []
    unseen = make_world([make_job(1, State.ACCEPTED)])
    assert of(Submit, plan(unseen, NOW, RULES)) == []


def test_those_who_wait_for_a_silent_backend_are_told() -> None:
    job = only(make_world([make_job(1, State.ACCEPTED)], failing_since=NOW - 6 * SECOND))
    assert job is not None
    assert job.reason is not None
    assert job.reason.code == "backend-silent"


def test_a_backend_that_left_the_settings_starts_nothing_and_kills_nothing() -> None:
    waiting, running = make_job(1, State.ACCEPTED, backend="old"), make_job(2, backend="old")
    found = after(make_world([waiting, running], listing(), up_since=NOW))
    assert found[waiting.id].reason is not None
    assert (found[waiting.id].state, found[running.id].state) == (State.ACCEPTED, State.RUNNING)
    assert found[running.id].unknown_since == NOW


def test_a_backend_without_a_queue_gets_what_fits_and_nobody_overtakes() -> None:
    room = Capacity(Resources(4000, 100 * GIB), None, queues=False)
    jobs = [
        make_job(1, State.RUNNING),
        make_job(2, State.ACCEPTED),
        make_job(3, State.ACCEPTED, resources=Resources(3000, GIB)),
        make_job(4, State.ACCEPTED),
    ]
    actions = plan(make_world(jobs, listing(show(jobs[0])), capacity=room), NOW, RULES)
    (call,) = of(Submit, actions)
    assert [job.name for job in call.jobs] == ["w2"]
    waiting = [(action.after.name, action.after.position) for action in of(Record, actions)]
    assert waiting == [("w3", 1), ("w4", 2)]
    told = of(Record, actions)[0].after.reason
    assert told == Reason(
        "waiting-for-capacity", "Waiting for room: 2 cores, 2 GiB of 4 cores, 100 GiB on b are in use."
    )


def test_a_process_that_never_gets_ready_is_stopped_with_the_reason() -> None:
    rules = replace(RULES, start_limit=timedelta(minutes=10))
    stuck = make_job(1, State.STARTING)
    job = only(make_world([stuck], listing(show(stuck))), rules=rules)
    assert job is not None
    assert (job.state, job.wanted, job.reason and job.reason.code) == (State.STOPPING, Wanted.STOP, "start-limit")


def test_no_start_is_cut_short_while_nothing_is_known_or_nobody_looked() -> None:
    rules = replace(RULES, start_limit=timedelta(minutes=10))
    stuck = make_job(1, State.STARTING, started_at=LONG_AGO)
    assert only(make_world([stuck], listing(show(stuck)), up_since=NOW - timedelta(minutes=9)), rules=rules) is None
    unseen = make_job(1, State.STARTING, unknown_since=NOW)
    assert only(make_world([unseen], failing_since=NOW - timedelta(minutes=1)), rules=rules) is None


def test_what_may_have_said_that_it_is_ready_before_its_record_was_made_is_not_taken_for_stuck() -> None:
    """Adopted after the database was lost, or known from a restored one as waiting while it has run for long."""
    rules = replace(RULES, start_limit=timedelta(minutes=10))
    adopted = make_job(1, State.STARTING, run=RunIdentity("r"))
    restored = make_job(2, State.STARTING, started_at=LONG_AGO - timedelta(days=1))
    seen = listing(show(adopted, run=RunIdentity("r")), show(restored))
    actions = plan(make_world([adopted, restored], seen, up_since=LONG_AGO), NOW, rules)
    assert {record.after.wanted for record in of(Record, actions)} <= {Wanted.RUN}
    assert of(Cancel, actions) == []


def test_what_can_never_fit_ends_with_the_reason() -> None:
    room = Capacity(Resources(2000, 100 * GIB), None, queues=False)
    job = only(make_world([make_job(1, State.ACCEPTED, resources=Resources(3000, GIB))], listing(), capacity=room))
    assert job is not None
    assert (job.state, job.reason and job.reason.code) == (State.ENDED, "does-not-fit")


def test_an_accepted_job_that_a_listing_shows_is_recorded_and_not_sent_again() -> None:
    job = make_job(1, State.ACCEPTED, attempt=1)
    world = make_world([job], listing(show(job)))
    assert of(Submit, plan(world, NOW, RULES)) == []
    seen = only(world)
    assert seen is not None
    assert seen.state is State.STARTING


# Evidence


@pytest.mark.parametrize(
    ("state", "phase", "becomes"),
    [
        (State.SUBMITTING, Phase.QUEUED, State.QUEUED),
        (State.SUBMITTING, Phase.RUNNING, State.STARTING),
        (State.QUEUED, Phase.RUNNING, State.STARTING),
        (State.STARTING, Phase.RUNNING, State.STARTING),
        (State.STARTING, Phase.QUEUED, State.QUEUED),
        (State.RUNNING, Phase.QUEUED, State.RUNNING),
        (State.RUNNING, Phase.UNKNOWN, State.RUNNING),
        (State.RUNNING, Phase.ENDED, State.ENDED),
        (State.STOPPING, Phase.RUNNING, State.STOPPING),
    ],
)
def test_a_listing_moves_a_job(state: State, phase: Phase, becomes: State) -> None:
    wanted = Wanted.STOP if state is State.STOPPING else Wanted.RUN
    job = make_job(1, state, wanted=wanted)
    seen = after(make_world([job], listing(show(job, phase)))).get(job.id, job)
    assert seen.state is becomes


def test_a_worker_shown_running_is_starting_until_it_claims() -> None:
    job = make_job(1, State.STARTING, started_at=LONG_AGO)
    assert only(make_world([job], listing(show(job)))) is None


def test_a_deadline_is_what_the_backend_says_while_it_runs() -> None:
    job = make_job(1)
    soon, later = NOW + timedelta(minutes=5), NOW + timedelta(hours=5)
    limited = only(make_world([job], listing(show(job, deadline=soon))))
    assert limited is not None
    assert limited.deadline == soon
    assert only(make_world([limited], listing(show(job, deadline=soon)))) is None
    extended = only(make_world([limited], listing(show(job, deadline=later))))
    assert extended is not None
    assert extended.deadline == later
    ended = only(make_world([limited], listing(show(job, Phase.ENDED, reason=Reason("walltime", "Over.")))))
    assert ended is not None
    assert (ended.deadline, ended.reason) == (soon, Reason("walltime", "Over."))
    requeued = make_job(1, State.STARTING, deadline=soon)
    waiting = only(make_world([requeued], listing(show(requeued, Phase.QUEUED))))
    assert waiting is not None
    assert waiting.deadline is None


def test_an_old_listing_does_not_take_back_what_happened_since() -> None:
    job = make_job(1, State.STARTING, state_since=NOW, started_at=NOW)
    assert only(make_world([job], listing(show(job, Phase.QUEUED)), listing(show(job, Phase.QUEUED)))) is None
    assert only(make_world([job], listing(), listing())) is None


def test_a_submit_falls_back_only_after_two_listings_begun_after_the_timeout_and_grace() -> None:
    job = make_job(1, State.SUBMITTING, state_since=NOW - 20 * SECOND)
    early, late, later = (listing(at=NOW - n * SECOND) for n in (10, 5, 0))
    assert only(make_world([job], early, late)) is None
    assert only(make_world([job], later)) is None
    fallen = only(make_world([job], late, later))
    assert fallen is not None
    assert fallen.state is State.ACCEPTED
    stopped = only(make_world([replace(job, wanted=Wanted.STOP)], late, later))
    assert stopped is not None
    assert stopped.state is State.ENDED


def test_absence_from_a_complete_history_is_unknown_and_never_an_end() -> None:
    here, gone = make_job(1), make_job(2)
    marked = only(make_world([here, gone], *[listing(show(here), at=NOW - n * SECOND) for n in (5, 0)]))
    assert marked is not None
    assert (marked.id, marked.state, marked.unknown_since) == (gone.id, State.RUNNING, NOW - SECOND)


def test_without_a_history_absence_from_two_listings_is_an_end_unless_all_vanished() -> None:
    here, gone = make_job(1), make_job(2)
    once = listing(show(here), show(gone), at=NOW - 5 * SECOND, complete=False)
    twice = [listing(show(here), at=NOW - n * SECOND, complete=False) for n in (5, 0)]
    first = only(make_world([here, gone], once, twice[1]))
    assert first is not None
    assert first.state is State.RUNNING
    second = only(make_world([here, gone], *twice))
    assert second is not None
    assert (second.state, second.reason and second.reason.code) == (State.ENDED, "vanished")
    empty = [listing(at=NOW - n * SECOND, complete=False) for n in (5, 0)]
    assert {job.state for job in after(make_world([here, gone], *empty)).values()} == {State.RUNNING}


def test_jobs_asked_to_stop_may_vanish_all_at_once() -> None:
    jobs = [make_job(number, State.STOPPING, wanted=Wanted.STOP) for number in (1, 2)]
    empty = [listing(at=NOW - n * SECOND, complete=False) for n in (5, 0)]
    assert {job.state for job in after(make_world(jobs, *empty)).values()} == {State.ENDED}


def test_a_silent_backend_makes_jobs_unknown_then_lost_and_kills_nobody() -> None:
    job = make_job()
    silent = make_world([job], listing(show(job)), failing_since=NOW)
    assert only(silent, NOW + SECOND) is None
    unknown = only(silent, NOW + 5 * SECOND)
    assert unknown is not None
    assert (unknown.state, unknown.wanted, unknown.unknown_since) == (State.RUNNING, Wanted.RUN, NOW)
    lost = only(make_world([unknown], failing_since=NOW), NOW + 60 * SECOND)
    assert lost is not None
    assert (lost.lost, lost.state, lost.wanted) == (True, State.RUNNING, Wanted.RUN)
    young = make_world([unknown], failing_since=NOW, up_since=NOW + 30 * SECOND)
    assert only(young, NOW + 60 * SECOND) is None


def test_a_lost_job_that_reappears_is_stopped() -> None:
    job = make_job(lost=True, unknown_since=LONG_AGO)
    found = only(make_world([job], listing(show(job))))
    assert found is not None
    assert (found.state, found.lost, found.reason and found.reason.code) == (State.STOPPING, True, "lost-and-found")


def test_an_end_is_told_by_the_jobs_own_reason_then_the_backends_then_its_exit() -> None:
    job = make_job(reason=Reason("memory-limit", "It used 3 GiB."))
    shown = show(job, Phase.ENDED, reason=Reason("oom", "killed"), exit=Exit(signal=9), ended_at=NOW)
    for reason, seen, code in [
        (job.reason, shown, "memory-limit"),
        (None, shown, "oom"),
        (None, replace(shown, reason=None), "killed"),
        (None, replace(shown, reason=None, exit=Exit(code=3)), "failed"),
        (None, replace(shown, reason=None, exit=Exit(code=0)), "finished"),
    ]:
        ended = only(make_world([replace(job, reason=reason)], listing(seen)))
        assert ended is not None
        assert (ended.reason and ended.reason.code, ended.ended_at, ended.exit) == (code, NOW, seen.exit)


def test_of_two_runs_under_one_key_the_living_one_counts() -> None:
    job = make_job(run=RunIdentity("one"), started_at=LONG_AGO)
    old = show(job, Phase.ENDED, run=RunIdentity("zero"))
    assert only(make_world([job], listing(old, show(job, run=RunIdentity("one"))))) is None


# Stopping


def test_a_stop_is_recorded_then_asked_then_asked_again_ever_more_slowly() -> None:
    job = make_job(wanted=Wanted.STOP)
    first = plan(make_world([job], listing(show(job))), NOW, RULES)
    assert of(Record, first)[0].after.state is State.STOPPING
    assert of(Cancel, first) == []
    stopping = replace(job, state=State.STOPPING)

    def asked(count: int, seconds: float) -> bool:
        cancels = {job.id: CancelSent(count, NOW - timedelta(seconds=seconds))}
        return bool(of(Cancel, plan(make_world([stopping], listing(show(job)), cancels=cancels), NOW, RULES)))

    assert of(Cancel, plan(make_world([stopping], listing(show(job))), NOW, RULES))[0].job_ids == (job.id,)
    assert [asked(1, 0.9), asked(1, 1.0), asked(3, 3.9), asked(3, 4.0), asked(50, 29.9), asked(50, 30)] == [
        False,
        True,
        False,
        True,
        False,
        True,
    ]


def test_children_stop_when_their_parent_or_cluster_ended_and_not_when_it_is_unknown() -> None:
    child = make_job(parent="p", cluster="c", started_at=LONG_AGO)
    seen = listing(show(child))
    assert only(make_world([child], seen, known_parents=frozenset("p"))) is None
    by_parent = only(make_world([child], seen, known_parents=frozenset("p"), gone_parents=frozenset("p")))
    by_cluster = only(make_world([child], seen, known_parents=frozenset("p"), gone_clusters=frozenset("c")))
    assert by_parent is not None
    assert by_cluster is not None
    assert (by_parent.state, by_parent.reason and by_parent.reason.code) == (State.STOPPING, "parent-ended")
    assert (by_cluster.state, by_cluster.reason and by_cluster.reason.code) == (State.STOPPING, "cluster-ended")


def test_a_parent_without_a_row_counts_as_ended_when_two_listings_do_not_show_it() -> None:
    child = make_job(parent="p", started_at=LONG_AGO)
    once, twice = (listing(show(child), at=NOW - n * SECOND) for n in (5, 0))
    assert only(make_world([child], twice)) is None
    assert only(make_world([child], once, twice, failing_since=NOW - 9 * SECOND)) is not None
    stopped = only(make_world([child], once, twice))
    assert stopped is not None
    assert stopped.wanted is Wanted.STOP


def test_an_idle_notebook_is_stopped_and_a_busy_one_never() -> None:
    rules = replace(RULES, idle_notebook=timedelta(minutes=20))
    job = make_job(kind=Kind.NOTEBOOK, claimed_at=LONG_AGO, started_at=LONG_AGO)
    for changed, stops in [
        (job, True),
        (replace(job, busy=True), False),
        (replace(job, busy_at=NOW - timedelta(minutes=19)), False),
        (replace(job, kind=Kind.WORKER), False),
    ]:
        found = only(make_world([changed], listing(show(changed))), rules=rules)
        assert (found is not None) is stops
    young = make_world([job], listing(show(job)), up_since=NOW - timedelta(minutes=1))
    assert only(young, rules=rules) is None


# Clusters


def make_cluster(**changes: Any) -> Cluster:
    cluster = Cluster("c", "dask", "ana", "p", LONG_AGO, ClusterState.RUNNING, LONG_AGO, lease_until=NOW)
    return replace(cluster, **changes)


@pytest.mark.parametrize(
    ("changes", "ends"),
    [
        ({"state": State.QUEUED}, False),
        ({"state": State.SUBMITTING}, False),
        ({"state": State.STARTING}, False),
        ({"state": State.QUEUED, "lost": True}, True),
        ({"state": State.RUNNING, "run": RunIdentity("r")}, True),
        ({"state": State.QUEUED, "kind": Kind.WORKER}, True),
    ],
)
def test_a_host_that_has_not_begun_has_no_lease_to_lose(changes: dict[str, Any], ends: bool) -> None:
    cluster = Cluster("c", "dask", "ana", "p", LONG_AGO, ClusterState.STARTING, LONG_AGO, lease_until=LONG_AGO)
    host = make_job(**{"kind": Kind.SCHEDULER, "cluster": "c", **changes})
    seen = listing(show(host, Phase.QUEUED if host.state is State.QUEUED else Phase.RUNNING))
    assert bool(of(EndCluster, plan(make_world([host], seen, clusters=(cluster,)), NOW, RULES))) is ends


def test_a_lease_counts_as_lost_only_while_the_service_was_up() -> None:
    def ends(now: datetime, **changes: Any) -> list[str]:
        actions = plan(make_world(clusters=(make_cluster(),), **changes), now, RULES)
        return [action.reason.code for action in of(EndCluster, actions)]

    assert ends(NOW + 59 * SECOND) == []
    assert ends(NOW + 60 * SECOND) == ["host-lost"]
    assert ends(NOW + 60 * SECOND, up_since=NOW + SECOND) == []


def test_a_cluster_ends_with_its_notebook() -> None:
    world = make_world(clusters=(make_cluster(parent="p"),), known_parents=frozenset("p"), gone_parents=frozenset("p"))
    (ended,) = of(EndCluster, plan(world, NOW, RULES))
    assert ended.reason.code == "parent-ended"


# Strays


def test_what_runs_under_our_signature_is_adopted_and_everything_else_only_reported() -> None:
    job = make_job()
    ours = show(job)
    forged = replace(ours, identity=make_identity(job, b"other key", 1000))
    renamed = replace(ours, owner="eve")
    anonymous = replace(ours, identity=None)
    ended = show(job, Phase.ENDED)
    assert [adoption.observed for adoption in of(Adopt, plan(make_world((), listing(ours)), NOW, RULES))] == [ours]
    assert of(Adopt, plan(make_world((), listing(ended)), NOW, RULES)) == []
    for stranger in (forged, renamed, anonymous):
        actions = plan(make_world((), listing(stranger)), NOW, RULES)
        (report,) = of(Report, actions)
        assert [finding.code for finding in report.findings] == ["forged"]
        assert actions == [report]


def test_a_forged_process_under_a_recorded_key_is_no_evidence() -> None:
    job = make_job(1, State.SUBMITTING)
    forged = replace(show(job), owner="eve")
    world = make_world([job], listing(forged))
    assert only(world) is None
    (report,) = of(Report, plan(world, NOW, RULES))
    assert [finding.subject for finding in report.findings] == [job.id]


def test_what_is_recorded_as_ended_and_runs_is_stopped_and_reported() -> None:
    job = make_job()
    actions = plan(make_world((), listing(show(job)), ended={job.id: LONG_AGO}), NOW, RULES)
    assert of(Cancel, actions)[0].job_ids == (job.id,)
    assert of(Report, actions)[0].findings[0].code == "ended-but-runs"
    stale = plan(make_world((), listing(show(job)), ended={job.id: NOW}), NOW, RULES)
    assert of(Cancel, stale) == []


def test_records_older_than_they_are_kept_are_forgotten() -> None:
    old, young, open_one = make_job(1), make_job(2), make_job(3, State.RUNNING)
    seen = [
        show(old, Phase.ENDED, ended_at=NOW - timedelta(days=8)),
        show(young, Phase.ENDED, ended_at=NOW - timedelta(days=6)),
        show(open_one, Phase.ENDED, ended_at=NOW - timedelta(days=8)),
    ]
    (forgotten,) = of(Forget, plan(make_world([open_one], listing(*seen)), NOW, RULES))
    assert forgotten.job_ids == (old.id,)


def test_leftovers_lost_jobs_and_silence_are_reported() -> None:
    job = make_job(lost=True, unknown_since=LONG_AGO)
    world = make_world([job], listing(leftovers=("folder x",)), failing_since=LONG_AGO)
    (report,) = of(Report, plan(world, NOW, RULES))
    assert {finding.code for finding in report.findings} == {"backend-silent", "lost", "leftover"}


def test_planning_is_quiet_when_nothing_is_to_be_done() -> None:
    job = make_job(started_at=LONG_AGO)
    assert plan(make_world([job], listing(show(job))), NOW, RULES) == [Report("b", ())]
