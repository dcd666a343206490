"""The store works on what is open, not on what ever was: few statements for many jobs, indexes for long histories."""

from __future__ import annotations

from collections.abc import Iterator
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
        lambda store: store.jobs(Selection(states=frozenset(State), limit=10)),
        lambda store: store.recorded(["abcdefgh.aaaaaaaaaaaaaaaa"]),
        lambda store: store.usage("ana", "personal", "ana"),
        lambda store: store.submit(notebook_draft(name="x"), NO_LIMITS, NOW),
    ],
)
def test_no_question_walks_through_the_history(old_store: Store, ask: object) -> None:
    assert callable(ask)
    explained: list[str] = []

    def explain(conn: sa.Connection, statement: str, parameters: object) -> None:
        if statement.startswith("SELECT") and "FROM jobs" in statement:
            plan = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[arg-type]
            explained.extend(row[-1] for row in plan)

    def note(conn: sa.Connection, _cursor: object, statement: str, parameters: object, *_rest: object) -> None:
        explain(conn, statement, parameters)

    engine = old_store._database.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    ask(old_store)
    sa.event.remove(engine, "before_cursor_execute", note)
    assert explained
    assert [line for line in explained if line.startswith("SCAN jobs") and "USING INDEX ix" not in line] == []


def test_usage_counts_what_is_open(old_store: Store) -> None:
    usage = old_store.usage("ana", "personal", "ana")
    assert isinstance(usage, Usage)
    assert (usage.user.jobs, usage.site.jobs) == (2, 2)
