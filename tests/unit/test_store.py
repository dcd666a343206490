"""What the store promises, on SQLite and on PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa

from sampan_hub.jobs.drafts import (
    BatchConflict,
    ClaimRefused,
    ClusterDraft,
    NoSuchCluster,
    NoSuchJob,
    Report,
    Selection,
    StoreError,
)
from sampan_hub.jobs.model import Address, ClusterState, Kind, Reason, State, Wanted
from sampan_hub.jobs.plan import Record, Submit
from sampan_hub.jobs.store import Store
from sampan_hub.settings.model import Limit, Limits
from tests.unit.stores import (
    INSTANCE,
    NO_LIMITS,
    NOW,
    SECOND,
    any_url,
    make_draft,
    notebook_draft,
    open_store,
    postgres,
    sqlite_url,
    store,
    submit_one,
)

__all__ = ["any_url", "postgres", "sqlite_url", "store"]

ADDRESS = Address("127.0.0.1", 40001)


def secrets_kept(store: Store) -> int:
    with store._database.read() as conn:
        return int(conn.execute(sa.text("SELECT count(*) FROM job_secrets")).scalar_one())


def test_a_batch_is_recorded_once_however_often_it_is_sent(store: Store) -> None:
    draft = make_draft(3)
    first = store.submit(draft, NO_LIMITS, NOW)
    again = store.submit(draft, NO_LIMITS, NOW + SECOND)
    assert [item.job for item in first.items] == [item.job for item in again.items]
    assert again.revision == first.revision
    assert len(store.jobs(Selection())[1]) == 3


def test_a_batch_key_belongs_to_its_submitter(store: Store) -> None:
    draft = make_draft()
    mine = store.submit(draft, NO_LIMITS, NOW)
    theirs = store.submit(replace(draft, submitter="user:ben"), NO_LIMITS, NOW)
    assert mine.batch != theirs.batch


@pytest.mark.parametrize(
    "change", [{"owner": "ben"}, {"secrets": {"token": "other"}}, {"options": {}}, {"items": make_draft(2).items}]
)
def test_the_same_key_with_other_content_is_a_conflict(store: Store, change: dict[str, object]) -> None:
    draft = make_draft()
    store.submit(draft, NO_LIMITS, NOW)
    with pytest.raises(BatchConflict, match=draft.key):
        store.submit(replace(draft, **change), NO_LIMITS, NOW)
    assert len(store.jobs(Selection())[1]) == 1


def test_over_a_limit_the_first_that_fit_are_taken_and_the_rest_named(store: Store) -> None:
    limits = Limits(user=Limit(cores=2))
    outcome = store.submit(make_draft(4), limits, NOW)
    assert [item.job is not None for item in outcome.items] == [True, True, False, False]
    refusal = outcome.items[2].refusal
    assert refusal is not None
    assert (refusal.limit, refusal.used, refusal.asked, refusal.maximum) == ("user.cores", 2000, 1000, 2000)
    assert outcome.allowed_now == 0
    assert store.usage("ana", "personal", "ana").user.jobs == 2
    assert store.usage("ben", "personal", "ben").project.jobs == 0


def test_refused_items_of_a_repeated_batch_are_tried_again(store: Store) -> None:
    draft = make_draft(2)
    first = store.submit(draft, Limits(user=Limit(jobs=1)), NOW)
    again = store.submit(draft, NO_LIMITS, NOW)
    assert again.items[0] == first.items[0]
    assert again.items[1].job is not None


def test_strict_takes_nothing_when_not_all_fit(store: Store) -> None:
    outcome = store.submit(make_draft(3, strict=True), Limits(user=Limit(jobs=2)), NOW)
    assert all(item.refusal for item in outcome.items)
    assert store.jobs(Selection())[1] == []


def test_fifty_requests_at_once_never_exceed_a_limit(store: Store) -> None:
    limits = Limits(user=Limit(cores=37))
    drafts = [make_draft(2) for _ in range(50)]
    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(lambda draft: store.submit(draft, limits, NOW), drafts))
    accepted = sum(item.job is not None for outcome in outcomes for item in outcome.items)
    assert accepted == 37
    assert store.usage("ana", "personal", "ana").user.resources.cores_milli == 37_000


def test_a_second_notebook_of_one_name_is_refused_with_the_first(store: Store) -> None:
    job = submit_one(store, notebook_draft())
    (second,) = store.submit(notebook_draft(), NO_LIMITS, NOW).items
    assert second.refusal is not None
    assert (second.refusal.code, second.refusal.existing) == ("notebook-exists", job.id)
    submit_one(store, notebook_draft(name="other"))
    submit_one(store, notebook_draft(owner="ben"))
    store.stop([job.id], by="ana", reason="asked", now=NOW)
    submit_one(store, notebook_draft())


def test_the_database_itself_refuses_a_second_notebook(store: Store) -> None:
    job = submit_one(store, notebook_draft())
    copied = "INSERT INTO jobs SELECT "
    with store._database.read() as conn:
        names = [column["name"] for column in sa.inspect(conn).get_columns("jobs")]
    chosen = ["'copy'" if name == "id" else "7" if name == "item_index" else name for name in names]
    with pytest.raises(sa.exc.IntegrityError), store._database.write() as tx:
        tx.conn.execute(sa.text(f"{copied}{', '.join(chosen)} FROM jobs WHERE id = :id"), {"id": job.id})


def test_a_lost_notebook_frees_its_name_and_its_limits(store: Store) -> None:
    job = submit_one(store, notebook_draft())
    store.apply([Record(job, job.with_(lost=True, unknown_since=NOW))], NOW)
    assert store.usage("ana", "personal", "ana").user.jobs == 0
    submit_one(store, notebook_draft())


def test_a_paused_site_refuses_new_work_with_its_sentence(store: Store) -> None:
    draft = make_draft()
    known = submit_one(store, draft)
    store.pause("Maintenance until noon.")
    (refused,) = store.submit(make_draft(), NO_LIMITS, NOW).items
    assert refused.refusal is not None
    assert (refused.refusal.code, refused.refusal.text) == ("paused", "Maintenance until noon.")
    assert submit_one(store, draft) == known
    with pytest.raises(StoreError, match="noon"):
        store.ensure_cluster(ClusterDraft("c", "ana", "personal"), NOW)
    store.pause(None)
    submit_one(store, make_draft())


def test_nothing_is_born_to_a_parent_that_ended(store: Store) -> None:
    parent = submit_one(store, notebook_draft())
    submit_one(store, make_draft(parent=parent.id))
    store.stop([parent.id], by="ana", reason="asked", now=NOW)
    (late,) = store.submit(make_draft(parent=parent.id), NO_LIMITS, NOW).items
    assert late.refusal is not None
    assert late.refusal.code == "parent-ended"


def test_stopping_what_was_never_submitted_ends_it_at_once(store: Store) -> None:
    job = submit_one(store, make_draft())
    stopped = store.stop([job.id, "abcdefgh.nonexistentnonex"], by="ana", reason="not needed any more", now=NOW)
    assert stopped.keys() == {job.id}
    assert (stopped[job.id].state, stopped[job.id].reason) == (
        State.ENDED,
        Reason("asked", "Stopped by ana: not needed any more"),
    )
    assert secrets_kept(store) == 0


def test_stopping_what_may_run_waits_for_the_backend(store: Store) -> None:
    job = submit_one(store, make_draft())
    store.apply([Submit("fake", (job,))], NOW)
    stopped = store.stop([job.id], by="ana", reason="asked", now=NOW)[job.id]
    assert (stopped.state, stopped.wanted) == (State.SUBMITTING, Wanted.STOP)
    again = store.stop([job.id], by="ben", reason="asked", now=NOW)[job.id]
    assert again == stopped


def test_the_first_run_claims_and_every_other_is_told_to_exit(store: Store) -> None:
    job = submit_one(store, notebook_draft())
    claim = store.claim(job.id, "run-1", NOW)
    assert claim.secrets == {"token": "tell-nobody"}
    assert claim.job.state is State.STARTING
    assert store.claim(job.id, "run-1", NOW).secrets == claim.secrets
    with pytest.raises(ClaimRefused) as refused:
        store.claim(job.id, "run-2", NOW)
    assert refused.value.code == "other-run"
    with pytest.raises(NoSuchJob):
        store.claim("abcdefgh.nonexistentnonex", "run", NOW)


def test_many_runs_claim_at_once_and_one_wins(store: Store) -> None:
    job = submit_one(store, make_draft())

    def try_claim(number: int) -> bool:
        try:
            store.claim(job.id, f"run-{number}", NOW)
        except ClaimRefused:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(try_claim, range(16))) == 1


def test_secrets_are_unreadable_at_rest_and_gone_after_the_first_report(store: Store) -> None:
    job = submit_one(store, notebook_draft())
    with store._database.read() as conn:
        kept = conn.execute(sa.text("SELECT ciphertext FROM job_secrets")).scalar_one()
    assert b"tell-nobody" not in bytes(kept)
    store.claim(job.id, "run-1", NOW)
    running = store.report(job.id, Report(address=ADDRESS), NOW)
    assert (running.state, running.address) == (State.RUNNING, ADDRESS)
    assert secrets_kept(store) == 0
    with pytest.raises(ClaimRefused) as refused:
        store.claim(job.id, "run-1", NOW)
    assert refused.value.code == "claimed"


def test_a_worker_runs_from_its_claim_and_a_stopped_job_may_not_claim(store: Store) -> None:
    runs, stopped = (submit_one(store, make_draft()) for _ in range(2))
    assert store.claim(runs.id, "run", NOW).job.state is State.RUNNING
    store.apply([Submit("fake", (stopped,))], NOW)
    store.stop([stopped.id], by="ana", reason="asked", now=NOW)
    with pytest.raises(ClaimRefused) as refused:
        store.claim(stopped.id, "run", NOW)
    assert refused.value.code == "stopped"


def test_a_job_that_claimed_before_its_record_was_is_recorded_so_and_nobody_claims_it_again(store: Store) -> None:
    """As after a backup was restored: only a claim hands over the credential with which jobs report."""
    job = submit_one(store, notebook_draft())
    said = store.report(job.id, Report(busy=False), NOW)
    assert (said.state, said.claimed_at) == (State.RUNNING, NOW)
    with pytest.raises(ClaimRefused) as refused:
        store.claim(job.id, "another run", NOW)
    assert refused.value.code == "claimed"


def test_a_notebook_that_claimed_is_not_running_before_its_address_is_known(store: Store) -> None:
    job = submit_one(store, notebook_draft())
    store.claim(job.id, "run", NOW)
    assert store.report(job.id, Report(busy=False), NOW).state is State.STARTING


def test_a_report_is_ignored_after_the_end(store: Store) -> None:
    job = submit_one(store, notebook_draft())
    store.stop([job.id], by="ana", reason="asked", now=NOW)
    assert store.report(job.id, Report(address=ADDRESS), NOW).address is None


def test_work_and_its_end_are_remembered(store: Store) -> None:
    job = submit_one(store, notebook_draft())
    store.claim(job.id, "run", NOW)
    assert store.report(job.id, Report(busy=False), NOW).busy_at is None
    assert store.report(job.id, Report(busy=True), NOW).busy
    rested = store.report(job.id, Report(busy=False), NOW + SECOND)
    assert (rested.busy, rested.busy_at) == (False, NOW + SECOND)
    later = store.report(job.id, Report(busy=False), NOW + 2 * SECOND)
    assert later.busy_at == NOW + SECOND


def test_every_change_has_a_newer_revision_and_listeners_hear_it_after_the_commit(store: Store) -> None:
    heard: list[tuple[int, int]] = []
    unsubscribe = store.subscribe(lambda revision: heard.append((revision, store.revision())))
    job = submit_one(store, make_draft())
    store.claim(job.id, "run", NOW)
    store.claim(job.id, "run", NOW)
    store.stop([job.id], by="ana", reason="asked", now=NOW)
    unsubscribe()
    submit_one(store, make_draft(), NOW + SECOND)
    assert heard == [(1, 1), (2, 2), (3, 3)]
    revision, (stopped, _) = store.jobs(Selection())
    assert (revision, stopped.revision) == (4, 3)


def test_the_history_tells_who_changed_what(store: Store) -> None:
    job = submit_one(store, make_draft())
    store.apply([Submit("fake", (job,))], NOW)
    store.claim(job.id, "run", NOW)
    store.stop([job.id], by="ana", reason="asked", now=NOW)
    events = [(event.state, event.wanted, event.by) for event in store.events(job.id)]
    assert events == [
        (State.ACCEPTED, Wanted.RUN, "hub"),
        (State.SUBMITTING, Wanted.RUN, "service"),
        (State.RUNNING, Wanted.RUN, job.id),
        (State.RUNNING, Wanted.STOP, "ana"),
    ]


def test_a_plan_that_lost_the_race_changes_nothing(store: Store) -> None:
    job = submit_one(store, make_draft())
    first = store.apply([Submit("fake", (job,))], NOW)
    second = store.apply([Submit("fake", (job,)), Record(job, job.with_(position=3))], NOW)
    assert [submitted.id for call in first.submit for submitted in call.jobs] == [job.id]
    assert first.submit[0].jobs[0] == store.job(job.id)
    assert (second.submit, second.changed) == ([], False)
    assert store.job(job.id).attempt == 1


def test_two_services_never_both_win_a_submit(store: Store) -> None:
    jobs = [submit_one(store, make_draft()) for _ in range(5)]
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: store.apply([Submit("fake", tuple(jobs))], NOW), range(8)))
    won = [job.id for answer in applied for call in answer.submit for job in call.jobs]
    assert sorted(won) == sorted(job.id for job in jobs)


def test_selections_answer_what_they_name(store: Store) -> None:
    notebook = submit_one(store, notebook_draft())
    worker = submit_one(store, make_draft(parent=notebook.id, cluster=None, owner="ana"), NOW + SECOND)
    other = submit_one(store, make_draft(owner="ben"), NOW + 2 * SECOND)
    store.stop([other.id], by="ben", reason="asked", now=NOW + 3 * SECOND)

    def ids(selection: Selection) -> list[str]:
        return [job.id for job in store.jobs(selection)[1]]

    assert ids(Selection()) == [notebook.id, worker.id]
    assert ids(Selection(kind=Kind.WORKER)) == [worker.id]
    assert ids(Selection(parent=notebook.id)) == [worker.id]
    assert ids(Selection(owner="ben")) == []
    assert ids(Selection(owner="ben", ended_after=NOW)) == [other.id]
    assert ids(Selection(ended_after=NOW + 4 * SECOND)) == [notebook.id, worker.id]
    assert ids(Selection(states=frozenset({State.ENDED}))) == [other.id]
    assert ids(Selection(ids=(other.id, notebook.id))) == [notebook.id, other.id]
    assert ids(Selection(ids=(other.id,), owner="ana")) == []
    assert ids(Selection(ended_after=NOW, limit=2)) == [worker.id, other.id]
    assert ids(Selection(batch=worker.batch)) == [worker.id]


def test_a_cluster_is_found_by_its_name_and_keeps_its_lease(store: Store) -> None:
    parent = submit_one(store, notebook_draft())
    draft = ClusterDraft("dask", "ana", "personal", parent=parent.id)
    cluster = store.ensure_cluster(draft, NOW)
    assert store.ensure_cluster(draft, NOW).id == cluster.id
    assert store.ensure_cluster(replace(draft, parent=None), NOW).id != cluster.id
    revision = store.revision()
    renewed = store.renew_lease(cluster.id, NOW + 30 * SECOND)
    assert renewed.lease_until == NOW + 90 * SECOND
    assert store.revision() == revision
    told = store.update_cluster(cluster.id, NOW, state=ClusterState.RUNNING, scheduler="tls://h:1", busy=True)
    assert (told.state, told.scheduler, told.busy_at) == (ClusterState.RUNNING, "tls://h:1", NOW)
    assert told.revision == store.revision() == revision + 1
    ended = store.end_cluster(cluster.id, by="ana", code="closed", text="Closed.", now=NOW)
    assert store.update_cluster(cluster.id, NOW, state=ClusterState.RUNNING) == ended
    assert store.ensure_cluster(draft, NOW).id != cluster.id
    (late,) = store.submit(make_draft(cluster=cluster.id), NO_LIMITS, NOW).items
    assert late.refusal is not None
    with pytest.raises(NoSuchCluster):
        store.cluster("abcdefgh.nonexistentnonex")


def test_the_instance_id_is_made_once(any_url: str) -> None:
    one, two = Store(any_url, secrets_key=b"k"), Store(any_url, secrets_key=b"k")
    one.migrate()
    assert one.ensure_instance_id(INSTANCE) == INSTANCE
    assert two.ensure_instance_id("zzzzzzzz") == INSTANCE
    one.close()
    two.close()


def test_a_store_opened_again_has_everything(any_url: str) -> None:
    first = open_store(any_url)
    job = submit_one(first, make_draft())
    first.close()
    second = open_store(any_url)
    assert second.job(job.id) == job
    assert second.claim(job.id, "run", NOW).secrets == {"token": "tell-nobody"}
    second.close()
