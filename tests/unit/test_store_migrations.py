"""The schema: from nothing to the tables of today, once, copied first, the same on both databases."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from sampan_hub.jobs.drafts import StoreError
from sampan_hub.jobs.store import Store
from sampan_hub.jobs.store.engine import make_engine
from sampan_hub.jobs.store.migrate import VERSIONS, migrate, read_revisions
from sampan_hub.jobs.store.tables import metadata
from tests.unit.stores import any_url, make_draft, open_store, postgres, sqlite_url, submit_one

__all__ = ["any_url", "postgres", "sqlite_url"]


def test_the_migrations_make_exactly_the_tables_of_the_model(any_url: str) -> None:
    migrate(any_url)
    engine = make_engine(any_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_names_of_files_tell_the_order_of_the_migrations() -> None:
    scripts = ScriptDirectory(str(VERSIONS.parent)).walk_revisions()
    assert read_revisions() == [script.revision for script in scripts][::-1]


def test_a_schema_that_is_up_to_date_needs_no_alembic(tmp_path: Path) -> None:
    """Half of the time after a kill goes by while the service is imported."""
    url = f"sqlite:///{tmp_path}/sampan.sqlite"
    migrate(url)
    check = "import sys; from sampan_hub.jobs.store.migrate import migrate; migrate(sys.argv[1]); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", check, url], capture_output=True, text=True, check=True)
    assert "sqlalchemy" in done.stdout.split()
    assert "alembic" not in done.stdout.split()


def test_many_processes_may_migrate_at_once(any_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, [any_url] * 4))
    store = open_store(any_url)
    submit_one(store, make_draft())
    store.close()


def test_tenant_and_project_are_there_from_the_first_migration(any_url: str) -> None:
    migrate(any_url)
    engine = make_engine(any_url)
    for table in ("jobs", "clusters"):
        assert {"tenant", "project"} <= {column["name"] for column in sa.inspect(engine).get_columns(table)}
    engine.dispose()


def test_an_sqlite_file_is_private_and_copied_before_an_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "sampan.sqlite"
    store = open_store(f"sqlite:///{path}")
    job = submit_one(store, make_draft())
    store.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.glob("*.before-*")) == []
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'newer'")
    with pytest.raises(StoreError, match="newer Sampan"):
        Store(f"sqlite:///{path}", secrets_key=b"k").migrate()
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute("SELECT id FROM jobs").fetchall() == [(job.id,)]


def test_an_upgrade_copies_first_and_keeps_every_job(tmp_path: Path) -> None:
    path = tmp_path / "sampan.sqlite"
    store = open_store(f"sqlite:///{path}")
    job = submit_one(store, make_draft())
    store.close()
    with closing(sqlite3.connect(path)) as connection, connection:  # as the version before wrote it
        connection.execute("ALTER TABLE jobs DROP COLUMN deadline")
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    store = open_store(f"sqlite:///{path}")
    assert store.job(job.id) == job
    store.close()
    copy = tmp_path / "sampan.sqlite.before-0001"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT id FROM jobs").fetchall() == [(job.id,)]


def test_the_copy_is_whole_and_private(tmp_path: Path) -> None:
    from sampan_hub.jobs.store.migrate import _copy

    path, target = tmp_path / "sampan.sqlite", tmp_path / "copy.sqlite"
    store = open_store(f"sqlite:///{path}")
    job = submit_one(store, make_draft())
    _copy(path, target)
    store.close()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with closing(sqlite3.connect(target)) as connection:
        assert connection.execute("SELECT id FROM jobs").fetchall() == [(job.id,)]


def test_a_database_in_memory_is_refused() -> None:
    with pytest.raises(StoreError, match="must be a file"):
        migrate("sqlite://")
