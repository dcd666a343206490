"""The tables. Tenant and project are columns from the first migration; quantities and money are integers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = sa.MetaData(naming_convention=NAMING)


class UtcDateTime(sa.TypeDecorator[datetime]):
    """Aware UTC in Python on every database; SQLite keeps it without a zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone cannot be stored: {value!r}")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, _dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _text(name: str, **kwargs: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, nullable=kwargs.pop("nullable", False), **kwargs)


def _integer(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def _time(name: str, *, nullable: bool = True) -> sa.Column[Any]:
    return sa.Column(name, UtcDateTime, nullable=nullable)


site = sa.Table(
    "site",
    metadata,
    sa.Column("single", sa.Integer, primary_key=True, autoincrement=False),
    _text("instance"),
    _integer("revision"),
    _text("paused", nullable=True),
    sa.CheckConstraint("single = 1", name="one_row"),
)
"""The single row: who we are and the revision counter."""

batches = sa.Table(
    "batches",
    metadata,
    _text("id", primary_key=True),
    _text("submitter"),
    _text("batch_key"),
    _text("content"),
    _time("created_at", nullable=False),
    sa.UniqueConstraint("submitter", "batch_key"),
)

jobs = sa.Table(
    "jobs",
    metadata,
    _text("id", primary_key=True),
    _text("kind"),
    _text("name"),
    _text("owner"),
    _text("tenant"),
    _text("project"),
    _text("size"),
    _integer("cores_milli"),
    _integer("memory_bytes"),
    _integer("gpus"),
    _text("environment"),
    _text("backend"),
    _text("batch"),
    _integer("item_index"),
    _text("parent", nullable=True),
    _text("cluster", nullable=True),
    sa.Column("options", sa.JSON, nullable=False),
    _integer("price_micros_per_hour", nullable=True),
    _time("created_at", nullable=False),
    _text("wanted"),
    _text("state"),
    _time("state_since", nullable=False),
    _integer("attempt"),
    _text("reason_code", nullable=True),
    _text("reason_text", nullable=True),
    _time("unknown_since"),
    sa.Column("lost", sa.Boolean, nullable=False),
    _time("last_seen_at"),
    _text("run_token", nullable=True),
    _time("claimed_at"),
    _time("started_at"),
    _time("ended_at"),
    _time("deadline"),
    _text("address_scheme", nullable=True),
    _text("address_host", nullable=True),
    _integer("address_port", nullable=True),
    _integer("exit_code", nullable=True),
    _integer("exit_signal", nullable=True),
    _integer("exit_peak_memory_bytes", nullable=True),
    sa.Column("busy", sa.Boolean, nullable=False),
    _time("busy_at"),
    _integer("position", nullable=True),
    _integer("revision"),
    sa.UniqueConstraint("batch", "item_index"),
)

# Written with the literal, because SQLite uses a partial index only for a query that spells its condition.
OPEN = "state <> 'ended'"
HOLDS = "state <> 'ended' AND NOT lost"

sa.Index("ix_jobs_open", jobs.c.backend, sqlite_where=sa.text(OPEN), postgresql_where=sa.text(OPEN))
sa.Index(
    "uq_jobs_open_notebook",
    jobs.c.owner,
    jobs.c.name,
    unique=True,
    sqlite_where=sa.text(f"kind = 'notebook' AND {HOLDS}"),
    postgresql_where=sa.text(f"kind = 'notebook' AND {HOLDS}"),
)
sa.Index("ix_jobs_owner_created_at", jobs.c.owner, jobs.c.created_at)
sa.Index("ix_jobs_created_at", jobs.c.created_at)
sa.Index("ix_jobs_parent", jobs.c.parent)
sa.Index("ix_jobs_cluster", jobs.c.cluster)
sa.Index("ix_jobs_ended_at", jobs.c.ended_at)
sa.Index("ix_jobs_owner_ended_at", jobs.c.owner, jobs.c.ended_at)

job_secrets = sa.Table(
    "job_secrets",
    metadata,
    sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("ciphertext", sa.LargeBinary, nullable=False),
)
"""What a job is handed at its claim; a row lives until its first report or its end."""

job_events = sa.Table(
    "job_events",
    metadata,
    sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
    _time("at", nullable=False),
    _text("state"),
    _text("wanted"),
    _text("by"),
    _text("reason_code", nullable=True),
    _text("reason_text", nullable=True),
)

clusters = sa.Table(
    "clusters",
    metadata,
    _text("id", primary_key=True),
    _text("name"),
    _text("owner"),
    _text("tenant"),
    _text("project"),
    _text("parent", nullable=True),
    _text("size"),
    _text("backend"),
    _time("created_at", nullable=False),
    _text("state"),
    _time("state_since", nullable=False),
    _text("reason_code", nullable=True),
    _text("reason_text", nullable=True),
    _text("scheduler", nullable=True),
    _text("dashboard", nullable=True),
    _time("lease_until"),
    _time("busy_at"),
    _time("ended_at"),
    _integer("idle_timeout_s"),
    _integer("revision"),
)
sa.Index("ix_clusters_open", clusters.c.owner, sqlite_where=sa.text(OPEN), postgresql_where=sa.text(OPEN))
sa.Index("ix_clusters_ended_at", clusters.c.ended_at)

findings = sa.Table(
    "findings",
    metadata,
    _text("backend", primary_key=True),
    _text("code", primary_key=True),
    _text("subject", primary_key=True),
    _text("text"),
    _text("remedy"),
    _time("found_at", nullable=False),
)
