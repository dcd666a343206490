"""What the hub reads of a job, and what it says of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sampan_hub.identity.notebooks import describe, describe_end, find_open, make_url, parse_notebook, parse_url


def job(**changes: Any) -> dict[str, Any]:
    return {
        "id": "aaaaaaaa.bbbbbbbbbbbbbbbb",
        "kind": "notebook",
        "owner": "ana",
        "name": "",
        "batch": "batch-key",
        "state": "running",
        "wanted": "run",
        "created_at": "2026-11-23T12:00:00Z",
        "reason": None,
        "position": None,
        "address": {"scheme": "http", "host": "127.0.0.1", "port": 4711},
        "exit": None,
        "unknown_since": None,
        "lost": False,
        "a_field_of_tomorrow": 1,
        **changes,
    }


def test_a_running_notebook_with_an_address_is_ready() -> None:
    assert parse_notebook(job()).is_ready
    assert parse_notebook(job()).address == "http://127.0.0.1:4711"
    assert not parse_notebook(job(address=None)).is_ready
    assert not parse_notebook(job(state="stopping")).is_ready


@pytest.mark.parametrize(
    ("exit_", "status"),
    [
        ({"code": 3, "signal": None}, 3),
        ({"code": None, "signal": 9}, -9),
        ({"code": 0, "signal": None}, 0),
        (None, 0),
    ],
)
def test_an_end_has_an_exit_status(exit_: dict[str, Any] | None, status: int) -> None:
    assert parse_notebook(job(state="ended", exit=exit_)).exit_status == status


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "node-7.example.org"])
def test_an_address_survives_there_and_back(host: str) -> None:
    assert parse_url(make_url("https", host, 8443)) == ("https", host, 8443)


def test_waiting_says_cause_and_place() -> None:
    waiting = job(state="accepted", position=3, address=None, reason={"code": "x", "text": "All 2 cores are in use."})
    assert describe(parse_notebook(waiting)) == (
        10,
        "Waiting for room on the machine, place 3: All 2 cores are in use.",
    )
    unknown = describe(parse_notebook(job(unknown_since="2026-11-23T12:00:00Z")))[1]
    assert "cannot be asked" in unknown


def test_a_limited_time_is_said_once_it_runs() -> None:
    limited = parse_notebook(job(state="starting", deadline="2026-11-23T22:05:00Z"))
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert describe(limited, noon) == (60, "Your server is starting. It ends at 22:05 UTC (walltime).")
    assert describe(limited, noon - timedelta(days=1))[1].endswith("at Mon 23 Nov 22:05 UTC (walltime).")
    assert "ends" not in describe(parse_notebook(job(state="starting", deadline=None)), noon)[1]


def test_an_early_end_says_why() -> None:
    told = describe_end(parse_notebook(job(state="ended", reason={"code": "x", "text": "Out of memory."})))
    assert told == "Your server ended before it was ready: Out of memory."
    assert "exit code 1" in describe_end(parse_notebook(job(state="ended", exit={"code": 1, "signal": None})))


def test_the_open_one_is_found_not_the_ended_or_another() -> None:
    jobs = [
        job(id="1", state="ended"),
        job(id="2", name="other"),
        job(id="3", owner="ben"),
        job(id="4", lost=True, created_at="2026-11-23T13:00:00Z"),
        job(id="5", created_at="2026-11-23T11:00:00Z"),
    ]
    found = find_open([parse_notebook(one) for one in jobs], "ana", "")
    assert found is not None
    assert found.id == "5"
    assert find_open([], "ana", "") is None
