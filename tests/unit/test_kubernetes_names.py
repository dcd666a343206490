"""Names and identities: valid for Kubernetes, one for each, read back as they were, and nobody else's."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan_hub.backends.kubernetes import names
from sampan_hub.backends.kubernetes.identity import is_of, parse_identity, render_identity
from sampan_hub.backends.kubernetes.pod import make_labels
from sampan_hub.jobs.keys import make_job_id, make_random_id, sign
from sampan_hub.jobs.model import Kind, Resources
from tests.unit.kubernetes_cases import INSTANCE, KEY, make_identity, make_settings

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
PEOPLE = st.text(min_size=1, max_size=80) | st.from_regex(r"[a-z0-9-]{1,40}", fullmatch=True)


@given(PEOPLE)
def test_any_name_becomes_a_valid_label_and_part_of_names(name: str) -> None:
    assert LABEL.fullmatch(names.escape(name))
    for made in (names.home_claim(name), names.project_claim(name), names.policy_name(INSTANCE, name)):
        assert LABEL.fullmatch(made), made


@given(PEOPLE, PEOPLE)
def test_no_two_names_become_one(one: str, other: str) -> None:
    assert (names.escape(one) == names.escape(other)) == (one == other)


@given(PEOPLE)
def test_the_escaped_form_of_a_name_is_nobodys_name_unless_it_is_plain(name: str) -> None:
    escaped = names.escape(name)
    assert names.escape(escaped) != escaped or escaped == name


def test_short_plain_names_stay_readable() -> None:
    assert names.home_claim("ana") == "home-ana"
    assert names.escape("Ana.Lima@example.org").startswith("ana-lima-example-org-")
    assert names.escape("Ana") != names.escape("ana")
    assert names.escape("---").startswith("x-")


@given(st.sampled_from(Kind), st.integers(0, 10**6))
def test_a_pods_name_tells_kind_and_job_and_nothing_else_is_one(kind: Kind, index: int) -> None:
    job_id = make_job_id(INSTANCE, "b" * 24, index)
    name = names.pod_name(kind, job_id)
    assert LABEL.fullmatch(name)
    assert names.parse_pod_name(name) == (kind, job_id)
    for other in (name + "x", "x" + name, name.upper(), name.replace("-", "."), name.partition("-")[2], ""):
        assert names.parse_pod_name(other) is None


def test_what_is_no_job_id_has_no_pod() -> None:
    with pytest.raises(ValueError, match="no job id"):
        names.pod_name(Kind.WORKER, "../x")


@given(
    st.builds(
        lambda **changes: make_identity(**changes),
        kind=st.sampled_from(Kind),
        index=st.integers(0, 10**6),
        name=st.text(max_size=20),
        owner=st.text(min_size=1, max_size=20),
        project=st.text(max_size=20),
        parent=st.none() | st.builds(make_random_id, st.just(INSTANCE)),
        cluster=st.none() | st.builds(make_random_id, st.just(INSTANCE)),
        resources=st.builds(Resources, st.integers(0, 10**6), st.integers(0, 10**14), st.integers(0, 99)),
        price_micros_per_hour=st.none() | st.integers(0, 10**12),
    )
)
def test_an_identity_is_read_as_it_was_written_and_known_as_ours(identity: object) -> None:
    text = render_identity(identity)  # type: ignore[arg-type]  # hypothesis builds Identity
    read = parse_identity(text)
    assert read == identity
    assert read is not None
    assert "\n" not in text
    assert is_of(read, names.pod_name(read.kind, read.job_id), KEY)


def test_an_identity_counts_on_its_own_pod_with_its_own_signature_only() -> None:
    identity = make_identity()
    own = names.pod_name(identity.kind, identity.job_id)
    assert is_of(identity, own, KEY)
    assert not is_of(identity, names.pod_name(Kind.NOTEBOOK, identity.job_id), KEY)
    assert not is_of(identity, names.pod_name(Kind.WORKER, make_job_id(INSTANCE, "b" * 24, 9)), KEY)
    assert not is_of(identity, own, b"another installation's key")
    for changes in ({"owner": "ben"}, {"uid": 0}, {"resources": Resources(1, 1)}, {"signature": ""}):
        assert not is_of(replace(identity, **changes), own, KEY)
    assert not is_of(sign(b"a stranger's key", replace(identity, owner="ben")), own, KEY)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", "7", "{", '{"job_id": "x"}', json.dumps({"job_id": 7}), "\ud800", '{"resources": [1]}'],
)
def test_what_is_no_identity_is_none(text: str) -> None:
    assert parse_identity(text) is None


def test_an_identity_with_values_of_other_types_is_none() -> None:
    values = json.loads(render_identity(make_identity()))
    for key, wrong in {"owner": 7, "index": "0", "kind": "king", "created_at": 5, "parent": [], "uid": None}.items():
        assert parse_identity(json.dumps({**values, key: wrong})) is None, key
    for key, wrong in {"signature": "é", "index": True, "created_at": "2026-01-02", "resources": [1, 2, "x"]}.items():
        assert parse_identity(json.dumps({**values, key: wrong})) is None, key
    assert parse_identity(json.dumps({**values, "more": 1})) is None


def test_the_labels_of_a_scheduler_without_a_size_are_valid() -> None:
    labels = make_labels(make_identity(Kind.SCHEDULER, size=""), make_settings())
    assert all(re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", value) for value in labels.values())
