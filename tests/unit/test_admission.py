"""Limits against use: what is taken, what is refused and how it is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan_hub.jobs.admission import UNLIMITED, Held, Usage, admit, allowed_now
from sampan_hub.jobs.model import Resources
from sampan_hub.settings.model import Limit, Limits

GIB = 2**30
SMALL = Resources(1000, GIB)
LARGE = Resources(4000, 8 * GIB, 1)


def test_without_limits_everything_is_admitted() -> None:
    assert admit(Usage(), Limits(), "ana", "p", [SMALL, LARGE]) == [None, None]
    assert allowed_now(Usage(), Limits(), "ana", "p", SMALL) == UNLIMITED


def test_what_fits_is_taken_in_order_of_request() -> None:
    limits = Limits(user=Limit(cores=5), raised_by="the help desk")
    first, second, third = admit(Usage(), limits, "ana", "p", [SMALL, LARGE, SMALL])
    assert first is None
    assert second is None
    assert third is not None
    assert (third.code, third.limit, third.used, third.asked, third.maximum) == (
        "over-limit",
        "user.cores",
        5000,
        1000,
        5000,
    )
    assert third.raised_by == "the help desk"
    assert third.text == (
        "Your limit is 5 cores; 5 cores in use, 1 cores asked for. It can be raised by the help desk."
    )


def test_a_large_item_does_not_keep_later_small_ones_out() -> None:
    limits = Limits(user=Limit(cores=3))
    decisions = admit(Usage(), limits, "ana", "p", [LARGE, SMALL, SMALL])
    assert [decision is None for decision in decisions] == [False, True, True]


def test_strict_takes_all_or_nothing() -> None:
    decisions = admit(Usage(), Limits(user=Limit(cores=3)), "ana", "p", [SMALL, LARGE], strict=True)
    assert [decision.code for decision in decisions if decision] == ["strict", "over-limit"]


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        (Limits(user=Limit(memory=GIB // 2)), "user.memory"),
        (Limits(user=Limit(jobs=0)), "user.jobs"),
        (Limits(project=Limit(cores=0.5)), "project.cores"),
        (Limits(site=Limit(jobs=0)), "site.jobs"),
        (Limits(user=Limit(cores=9), users={"ana": Limit(cores=0)}), "user.cores"),
        (Limits(projects={"p": Limit(memory=1)}), "project.memory"),
    ],
)
def test_every_limit_refuses_by_its_name(limits: Limits, name: str) -> None:
    (refusal,) = admit(Usage(), limits, "ana", "p", [SMALL])
    assert refusal is not None
    assert refusal.limit == name


def test_no_gpus_is_a_limit_only_for_those_who_ask_for_one() -> None:
    limits = Limits(user=Limit(gpus=0))
    without, with_gpu = admit(Usage(), limits, "ana", "p", [SMALL, LARGE])
    assert without is None
    assert with_gpu is not None
    assert with_gpu.limit == "user.gpus"


def test_an_override_replaces_the_general_limit_whole() -> None:
    limits = Limits(user=Limit(cores=1, jobs=1), users={"ana": Limit(cores=8)})
    assert admit(Usage(), limits, "ana", "p", [SMALL, SMALL]) == [None, None]
    assert admit(Usage(), limits, "ben", "p", [SMALL, SMALL])[1] is not None


sizes = st.builds(Resources, st.integers(1, 8000), st.integers(1, 8 * GIB), st.integers(0, 2))
caps = st.builds(
    Limit,
    cores=st.none() | st.integers(0, 16).map(float),
    memory=st.none() | st.integers(0, 16 * GIB),
    gpus=st.none() | st.integers(0, 3),
    jobs=st.none() | st.integers(0, 6),
)


@given(st.lists(sizes, max_size=12), caps, caps, caps)
def test_nothing_admitted_ever_exceeds_a_limit(asks: list[Resources], user: Limit, project: Limit, site: Limit) -> None:
    limits = Limits(user=user, project=project, site=site)
    decisions = admit(Usage(), limits, "ana", "p", asks)
    held = Held()
    for ask, decision in zip(asks, decisions, strict=True):
        held = held if decision else held.plus(ask)
    for limit in (user, project, site):
        assert limit.cores is None or held.resources.cores_milli <= limit.cores * 1000
        assert limit.memory is None or held.resources.memory_bytes <= limit.memory
        assert limit.gpus is None or held.resources.gpus <= limit.gpus
        assert limit.jobs is None or held.jobs <= limit.jobs


@given(sizes, caps)
def test_allowed_now_is_exactly_what_would_be_admitted(ask: Resources, user: Limit) -> None:
    limits = Limits(user=user)
    allowed = allowed_now(Usage(), limits, "ana", "p", ask)
    asks = [ask] * (min(allowed, 30) + 1)
    admitted = sum(decision is None for decision in admit(Usage(), limits, "ana", "p", asks))
    assert admitted == (allowed if allowed < 31 else 31)
