"""Slurm's words for states, reasons and refusals, in ours: closed tables, each entry with a sentence."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan_hub.backends.base import Phase
from sampan_hub.backends.slurm.reasons import explain_waiting, is_listed
from sampan_hub.backends.slurm.refusals import explain_refusal
from sampan_hub.backends.slurm.states import COMPACT, STATES, read_state
from tests.unit.slurm_reasons import REASONS

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)


def test_every_compact_form_is_of_a_state_in_the_table() -> None:
    assert set(STATES) - {"RECONFIG_FAIL"} == set(COMPACT.values())
    assert all(read_state(compact) == read_state(name) for compact, name in COMPACT.items())


def test_only_ends_have_a_reason_and_every_end_has_one() -> None:
    for name, meaning in STATES.items():
        assert (meaning.end is not None) == (meaning.phase is Phase.ENDED), name


@pytest.mark.parametrize(
    ("text", "phase", "by"),
    [
        ("CANCELLED by 4001", Phase.ENDED, 4001),
        ("CANCELLED by 0", Phase.ENDED, 0),
        ("CANCELLED+", Phase.ENDED, None),
        ("COMPLETING", Phase.RUNNING, None),
        ("SUSPENDED", Phase.RUNNING, None),
        ("CONFIGURING", Phase.QUEUED, None),
        ("REQUEUE_HOLD", Phase.QUEUED, None),
        ("REVOKED", Phase.UNKNOWN, None),
    ],
)
def test_states_are_read_in_every_spelling(text: str, phase: Phase, by: int | None) -> None:
    state = read_state(text)
    assert (state.meaning.phase, state.cancelled_by, state.is_listed) == (phase, by, True)


@given(st.text(max_size=30))
def test_an_unlisted_state_never_says_anything(text: str) -> None:
    state = read_state(text)
    if not state.is_listed:
        assert state.meaning.phase is Phase.UNKNOWN
    else:
        assert state.name in STATES


@pytest.mark.parametrize("code", REASONS)
def test_every_reason_has_a_sentence(code: str) -> None:
    reason = explain_waiting(code, None, NOW)
    assert is_listed(code)
    assert reason.code.startswith("slurm-")
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", reason.code)
    assert reason.text.startswith("Waiting in the queue: ")
    assert reason.text.endswith(".")
    assert code == "None" or f"({code})" in reason.text


def test_reasons_say_what_they_mean() -> None:
    assert explain_waiting("Priority", None, NOW).text == (
        "Waiting in the queue: other jobs have higher priority (Priority)."
    )
    assert "as many cores in use as allowed" in explain_waiting("QOSMaxCpuPerUserLimit", None, NOW).text
    assert "your Slurm account has as many GPUs" in explain_waiting("AssocGrpGRES", None, NOW).text
    assert (
        "more memory than its quality of service allows a job" in explain_waiting("QOSMaxMemoryPerJob", None, NOW).text
    )


def test_a_reason_with_details_is_its_code() -> None:
    down = explain_waiting("ReqNodeNotAvail,_UnavailableNodes:node[1-2]", None, NOW)
    assert down.code == "slurm-req-node-not-avail"
    free_text = "Nodes_required_for_job_are_DOWN,_DRAINED_or_reserved_for_jobs_in_higher_priority_partitions"
    assert explain_waiting(free_text, None, NOW).code == "slurm-nodes-unavailable"


def test_an_unknown_reason_is_shown_as_it_is() -> None:
    reason = explain_waiting("SomethingNew", None, NOW)
    assert reason.code == "slurm-unlisted"
    assert "SomethingNew" in reason.text


def test_the_estimate_is_said_to_be_one() -> None:
    today = explain_waiting("Resources", NOW + timedelta(hours=2), NOW)
    assert today.text.endswith(" Estimated start: 06:00 UTC.")
    tomorrow = explain_waiting("Resources", NOW + timedelta(days=1), NOW)
    assert tomorrow.text.endswith(" Estimated start: 2026-11-24 04:00 UTC.")
    assert "stimated" not in explain_waiting("Resources", NOW - timedelta(hours=1), NOW).text


@given(st.text(max_size=300))
def test_any_reason_becomes_one_line(text: str) -> None:
    told = explain_waiting(text, None, NOW).text
    assert told.isprintable()


@pytest.mark.parametrize(
    ("told", "code", "advice"),
    [
        ("Invalid account or account/partition combination specified", "slurm-account", "another project"),
        ("Invalid partition name specified", "slurm-partition", "settings"),
        ("Requested time limit is invalid (missing or exceeds some limit)", "slurm-walltime", "walltime"),
        (
            "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
            "slurm-limit",
            "Stop",
        ),
        ("Memory specification can not be satisfied", "does-not-fit", "smaller size"),
        ("Invalid feature specification", "slurm-constraint", "settings"),
        ("Invalid qos specification", "slurm-qos", "quality of service"),
        ("Something nobody has seen", "slurm-refused", "Something nobody has seen"),
    ],
)
def test_a_refusal_comes_with_what_to_do(told: str, code: str, advice: str) -> None:
    reason = explain_refusal("refused", f"Slurm refused the job: {told}.")
    assert reason.code == code
    assert told in reason.text
    assert advice in reason.text


def test_other_refusals_keep_their_sentence() -> None:
    reason = explain_refusal("home_full", "Your home folder is full.")
    assert (reason.code, reason.text) == ("slurm-home-full", "Your home folder is full.")
