"""The store works on what is open, not on what ever was: few statements for many jobs, indexes for long histories."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import sqlalchemy as sa

from sampan_hub.jobs.admission import Usage
from sampan_hub.jobs.drafts import Selection
from sampan_hub.jobs.model import Job, State
from sampan_hub.jobs.plan import Record, Submit
from sampan_hub.jobs.store import Store
from sampan_hub.jobs.store.writing import insert_jobs
from tests.unit.stores import NO_LIMITS, NOW, SECOND, make_draft, notebook_draft, open_store, sqlite_url, submit_one

__all__ = ["sqlite_url"]

PAST_JOBS = 3000


@contextmanager
def statements(store: Store) -> Iterator[list[str]]:
    """Every statement sent to the database meanwhile; one that is executed for many rows counts once."""
    sent: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
        sent.append(statement)

    engine = store._database.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    yield sent
    sa.event.remove(engine, "before_cursor_execute", note)


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    made = open_store(sqlite_url)
    yield made
    made.close()


def test_four_hundred_workers_are_recorded_in_a_few_statements(store: Store) -> None:
    with statements(store) as asking:
        outcome = store.submit(make_draft(400), NO_LIMITS, NOW)
    jobs = tuple(item.job for item in outcome.items if item.job is not None)
    assert len(jobs) == 400
    assert len(asking) < 20
    with statements(store) as submitting:
        (call,) = store.apply([Submit("fake", jobs)], NOW).submit
    with statements(store) as settling:
        store.apply([Record(job, job.with_(state=State.QUEUED)) for job in call.jobs], NOW)
    assert len(submitting) < 12
    assert len(settling) < 12
    assert {job.state for job in store.jobs(Selection())[1]} == {State.QUEUED}


@pytest.fixture
def old_store(store: Store) -> Store:
    """A store with a long history and two open jobs."""
    template = submit_one(store, make_draft())
    submit_one(store, notebook_draft())
    with store._database.write() as tx:
        past = [_past(template, number) for number in range(PAST_JOBS)]
        insert_jobs(tx, past, by="test", now=NOW)
    return store


def _past(job: Job, number: int) -> Job:
    return replace(
        job,
        id=f"abcdefgh.{number:016}".translate(str.maketrans("0123456789", "abcdefghij")),
        index=number + 1,
        state=State.ENDED,
        created_at=NOW + number * SECOND,
        ended_at=NOW + number * SECOND,
    )


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.jobs(Selection()),
        lambda store: store.jobs(Selection(owner="ana")),
        lambda store: store.jobs(Selection(cluster="c")),
        lambda store: store.jobs(Selection(ended_after=NOW + (PAST_JOBS - 5) * SECOND)),
        lambda store: store.jobs(Selection(owner="ana", ended_after=NOW + (PAST_JOBS - 5) * SECOND)),
        lambda store: store.recorded(["abcdefgh.aaaaaaaaaaaaaaaa"]),
        lambda store: store.usage("ana", "personal", "ana"),
        lambda store: store.submit(notebook_draft(name="x"), NO_LIMITS, NOW),
    ],
)
def test_no_question_walks_through_the_history(old_store: Store, ask: Callable[[Store], object]) -> None:
    plan = explain_jobs(old_store, ask)
    assert plan
    assert [line for line in plan if line.startswith("SCAN jobs") and "ix_jobs_open" not in line] == []
    assert [line for line in plan if "created_at" in line] == [], "an index that holds the history, in its order"


def test_the_newest_few_are_read_in_order_without_the_rest(old_store: Store) -> None:
    plan = explain_jobs(old_store, lambda store: store.jobs(Selection(states=frozenset(State), limit=10)))
    assert [line for line in plan if "ix_jobs_created_at" in line]
    assert "USE TEMP B-TREE FOR ORDER BY" not in plan


def test_lately_ended_jobs_come_in_order_after_what_is_older(old_store: Store) -> None:
    _, found = old_store.jobs(Selection(ended_after=NOW + (PAST_JOBS - 5) * SECOND))
    assert [job.created_at for job in found] == sorted(job.created_at for job in found)
    assert [job.is_ended for job in found] == [False, False, *[True] * 4]
    _, newest = old_store.jobs(Selection(ended_after=NOW + (PAST_JOBS - 5) * SECOND, limit=3))
    assert newest == found[-3:]


def explain_jobs(store: Store, ask: Callable[[Store], object]) -> list[str]:
    """SQLite's plan for each question about jobs that `ask` makes."""
    explained: list[str] = []

    def explain(conn: sa.Connection, statement: str, parameters: object) -> None:
        if statement.startswith("SELECT") and "FROM jobs" in statement:
            plan = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[arg-type]
            explained.extend(row[-1] for row in plan)

    def note(conn: sa.Connection, _cursor: object, statement: str, parameters: object, *_rest: object) -> None:
        explain(conn, statement, parameters)

    engine = store._database.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    ask(store)
    sa.event.remove(engine, "before_cursor_execute", note)
    return explained


def test_usage_counts_what_is_open(old_store: Store) -> None:
    usage = old_store.usage("ana", "personal", "ana")
    assert isinstance(usage, Usage)
    assert (usage.user.jobs, usage.site.jobs) == (2, 2)
