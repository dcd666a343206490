"""Stores and jobs for the tests of the job core."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from sampan_hub.jobs.drafts import BatchDraft, ItemDraft
from sampan_hub.jobs.model import Job, Kind, Resources
from sampan_hub.jobs.store import Store
from sampan_hub.settings.model import Limits
from tests.postgres import Server, running_server

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
GIB = 2**30
SMALL = Resources(1000, GIB)
INSTANCE = "abcdefgh"
NO_LIMITS = Limits()

_keys = count(1)


def make_draft(items: int = 1, **changes: Any) -> BatchDraft:
    """Workers of ana, with a new key."""
    draft = BatchDraft(
        key=f"key-{next(_keys):08}",
        submitter="hub",
        kind=Kind.WORKER,
        owner="ana",
        project="personal",
        tenant="ana",
        environment="default",
        backend="fake",
        items=tuple(ItemDraft(f"w{number}", "small", SMALL) for number in range(items)),
        options={"interpreter": "/usr/bin/python3", "env": {"A": "1"}},
        secrets={"token": "tell-nobody"},
    )
    return replace(draft, **changes)


def notebook_draft(owner: str = "ana", name: str = "", **changes: Any) -> BatchDraft:
    """One notebook."""
    items = (ItemDraft(name, "small", SMALL),)
    return replace(make_draft(), kind=Kind.NOTEBOOK, owner=owner, tenant=owner, items=items, **changes)


def submit_one(store: Store, draft: BatchDraft, now: datetime = NOW) -> Job:
    """Submit a batch of one that must be accepted."""
    (outcome,) = store.submit(draft, NO_LIMITS, now).items
    assert outcome.job is not None, outcome.refusal
    return outcome.job


def open_store(url: str) -> Store:
    store = Store(url, secrets_key=b"a test's own key")
    store.migrate()
    store.ensure_instance_id(INSTANCE)
    return store


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/sampan.sqlite"


@pytest.fixture(params=["sqlite", "postgresql"])
def any_url(request: pytest.FixtureRequest, sqlite_url: str) -> str:
    if request.param == "sqlite":
        return sqlite_url
    server: Server = request.getfixturevalue("postgres")
    return server.make_database()


@pytest.fixture
def store(any_url: str) -> Iterator[Store]:
    """A store on SQLite, and again on PostgreSQL."""
    made = open_store(any_url)
    yield made
    made.close()
