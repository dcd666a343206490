"""Ids, signatures and credentials."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sampan_hub.backends.base import Identity
from sampan_hub.jobs.keys import (
    JOB_ID,
    instance_of,
    is_signed,
    make_batch_id,
    make_credential,
    make_instance_id,
    make_random_id,
    parse_credential,
    sign,
)
from sampan_hub.jobs.model import Kind, Resources

KEY = b"k" * 32
IDENTITY = Identity(
    job_id="abcdefgh.abcdefghijklmnop",
    kind=Kind.WORKER,
    name="w0",
    owner="ana",
    project="p",
    tenant="t",
    size="small",
    environment="default",
    parent=None,
    cluster=None,
    batch="b",
    index=0,
    resources=Resources(1000, 2**30),
    price_micros_per_hour=5,
    uid=1000,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)
OTHER: dict[type, Any] = {str: "other", int: 7, Kind: Kind.NOTEBOOK, Resources: Resources(1, 1), type(None): "x"}


def test_ids_are_well_formed_and_differ() -> None:
    instance = make_instance_id()
    ids = {make_random_id(instance) for _ in range(100)}
    assert len(ids) == 100
    assert all(JOB_ID.match(job_id) and instance_of(job_id) == instance for job_id in ids)


@pytest.mark.parametrize("text", ["", "abc", "abcdefgh.", "abcdefgh.ABCDEFGHIJKLMNOP", "../etc.abcdefghijklmnop"])
def test_other_text_has_no_instance(text: str) -> None:
    assert instance_of(text) is None


def test_a_batch_key_is_scoped_by_its_caller() -> None:
    assert make_batch_id("ana", "k") == make_batch_id("ana", "k")
    assert len({make_batch_id("ana", "k"), make_batch_id("ben", "k"), make_batch_id("an", "ak")}) == 3


@pytest.mark.parametrize("field", [field.name for field in fields(Identity) if field.name != "signature"])
def test_a_signature_covers_every_field(field: str) -> None:
    signed = sign(KEY, IDENTITY)
    assert is_signed(KEY, signed)
    assert not is_signed(b"other", signed)
    value = getattr(signed, field)
    changed = value + timedelta(seconds=1) if isinstance(value, datetime) else OTHER[type(value)]
    assert not is_signed(KEY, replace(signed, **{field: changed}))


def test_a_credential_is_believed_only_as_it_was_made() -> None:
    text = make_credential(KEY, "abcdefgh.abcdefghijklmnop", "worker")
    found = parse_credential(KEY, text)
    assert found is not None
    assert (found.subject, found.kind) == ("abcdefgh.abcdefghijklmnop", "worker")
    assert parse_credential(b"other", text) is None
    for wrong in (text[:-1], text + "A", text.replace("worker", "notebook"), text.upper(), "", "a.b", "a.admin.b"):
        assert parse_credential(KEY, wrong) is None


def test_a_kind_that_does_not_exist_is_no_credential_even_when_signed() -> None:
    text = make_credential(KEY, "cli", "root")  # type: ignore[arg-type]
    assert parse_credential(KEY, text) is None
