"""The service's shapes against the golden messages: a change of either is a change of API v1 and shows here."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from sampan_hub.jobs.drafts import BatchOutcome, ItemOutcome, Refusal
from sampan_hub.jobs.model import (
    Address,
    Cluster,
    ClusterState,
    Exit,
    Job,
    Kind,
    Reason,
    Resources,
    RunIdentity,
    State,
    Wanted,
)
from sampan_hub.service import wire
from sampan_hub.service.problems import bad_field
from sampan_hub.service.routes.session import make_session
from sampan_hub.service.views import view_cluster, view_job, view_outcome

MESSAGES = Path(__file__).with_name("messages")

SHAPES: dict[str, type[BaseModel]] = {
    "claim_answer_notebook": wire.ClaimAnswer,
    "claim_answer_scheduler": wire.ClaimAnswer,
    "claim_answer_worker": wire.ClaimAnswer,
    "claim_request": wire.ClaimRequest,
    "cluster_answer": wire.ClusterAnswer,
    "cluster_answer_hosted": wire.ClusterAnswer,
    "cluster_report": wire.ClusterReport,
    "cluster_request": wire.ClusterRequest,
    "cluster_request_hosted": wire.ClusterRequest,
    "clusters_answer": wire.ClustersAnswer,
    "findings_answer": wire.FindingsAnswer,
    "job_ended": wire.JobView,
    "job_notebook": wire.JobView,
    "jobs_answer": wire.JobsAnswer,
    "log_answer": wire.LogAnswer,
    "offers_answer": wire.OffersAnswer,
    "pause_answer": wire.PauseAnswer,
    "pause_request": wire.PauseRequest,
    "problem_field": wire.Problem,
    "problem_limit": wire.Problem,
    "quote_answer": wire.QuoteAnswer,
    "report_address": wire.ReportRequest,
    "report_busy": wire.ReportRequest,
    "report_failure": wire.ReportRequest,
    "session_answer": wire.SessionAnswer,
    "stop_answer": wire.StopAnswer,
    "stop_request": wire.StopRequest,
    "submit_answer": wire.SubmitAnswer,
    "submit_request_notebook": wire.SubmitRequest,
    "submit_request_workers": wire.SubmitRequest,
    "whoami_answer": wire.WhoamiAnswer,
}


def read(name: str) -> Any:
    return json.loads((MESSAGES / f"{name}.json").read_text())


def test_every_message_has_a_shape_and_every_shape_a_message() -> None:
    assert {path.stem for path in MESSAGES.iterdir()} == SHAPES.keys()
    spoken = {
        shape
        for shape in vars(wire).values()
        if isinstance(shape, type) and issubclass(shape, wire.Request | wire.Answer)
        if shape.__name__.endswith(("Request", "Answer"))
    }
    parts = {wire.Request, wire.Answer, wire.ItemAnswer}
    assert spoken - parts == {shape for shape in SHAPES.values() if shape.__name__.endswith(("Request", "Answer"))}


@pytest.mark.parametrize("name", SHAPES)
def test_a_message_is_read_and_written_back_the_same(name: str) -> None:
    message = SHAPES[name].model_validate(read(name))
    assert json.loads(message.model_dump_json(exclude_unset=True)) == read(name)


@pytest.mark.parametrize(
    "name", [name for name, shape in SHAPES.items() if shape.__name__.endswith(("Answer", "View"))]
)
def test_an_answer_shows_every_field(name: str) -> None:
    message = SHAPES[name].model_validate(read(name))
    assert json.loads(message.model_dump_json()) == read(name)


@pytest.mark.parametrize("name", [name for name, shape in SHAPES.items() if issubclass(shape, wire.Request)])
def test_a_request_with_an_unknown_field_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        SHAPES[name].model_validate({**read(name), "cmd": ["id"]})


NOON = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
ENDED = Job(
    id="k7c2m4qa.bcdefgh234567abc",
    kind=Kind.WORKER,
    name="calc-3",
    owner="ana",
    project="common",
    tenant="house",
    size="small",
    resources=Resources(1000, 2**30),
    environment="default",
    backend="local",
    batch="fsvsdljpefmvfax22b67nynq",
    index=3,
    created_at=NOON,
    parent="k7c2m4qa.abcdefgh234567ab",
    cluster="k7c2m4qa.cdefgh234567abcd",
    state=State.ENDED,
    state_since=NOON.replace(minute=30),
    reason=Reason("memory-limit", "Used 1.1 GiB of 1 GiB."),
    run=RunIdentity("never shown"),
    claimed_at=NOON.replace(second=2),
    started_at=NOON.replace(second=1),
    ended_at=NOON.replace(minute=30, second=1),
    deadline=NOON.replace(hour=11, second=1),
    exit=Exit(signal=9, peak_memory_bytes=1_181_116_006),
    price_micros_per_hour=500_000,
    options={"env": {"never": "shown"}},
    busy_at=NOON.replace(minute=29),
    revision=17,
)
LATER = NOON.replace(hour=12)


def test_a_job_is_shown_as_the_golden_message_says() -> None:
    assert json.loads(view_job(ENDED, LATER).model_dump_json()) == read("job_ended")
    notebook = replace(
        ENDED,
        id="k7c2m4qa.abcdefgh234567ab",
        kind=Kind.NOTEBOOK,
        name="",
        batch="gsvsdljpefmvfax22b67nynq",
        index=0,
        parent=None,
        cluster=None,
        state=State.RUNNING,
        state_since=NOON.replace(second=3),
        reason=None,
        ended_at=None,
        exit=None,
        address=Address("127.0.0.1", 40123),
        busy=True,
        revision=12,
    )
    half_an_hour_later = NOON.replace(minute=30, second=1)
    assert json.loads(view_job(notebook, half_an_hour_later).model_dump_json()) == read("job_notebook")


def test_a_submit_is_answered_as_the_golden_message_says() -> None:
    waiting = replace(
        ENDED,
        id="k7c2m4qa.defgh234567abcde",
        name="calc-4",
        index=4,
        state=State.ACCEPTED,
        reason=Reason("waiting-for-capacity", "Waiting for 1 core on local."),
        position=2,
        claimed_at=None,
        started_at=None,
        ended_at=None,
        deadline=None,
        exit=None,
        busy_at=None,
        revision=18,
    )
    refusal = Refusal(
        "over-limit",
        "Your limit is 40 cores; 40 cores in use, 1 cores asked for. It can be raised by the help desk.",
        "user.cores",
        40_000,
        1_000,
        40_000,
        "the help desk",
    )
    items = (ItemOutcome(0, waiting, None), ItemOutcome(1, None, refusal))
    outcome = BatchOutcome("fsvsdljpefmvfax22b67nynq", items, 0, 18)
    assert json.loads(view_outcome(outcome, LATER).model_dump_json()) == read("submit_answer")


def test_a_cluster_is_shown_as_the_golden_message_says() -> None:
    cluster = Cluster(
        id="k7c2m4qa.cdefgh234567abcd",
        name="calc",
        owner="ana",
        project="common",
        tenant="house",
        parent="k7c2m4qa.abcdefgh234567ab",
        created_at=NOON,
        state=ClusterState.RUNNING,
        state_since=NOON,
        scheduler="tls://127.0.0.1:43210",
        dashboard="/run/user/1000/sampan/dashboard.sock",
        lease_until=NOON.replace(minute=31),
        revision=14,
    )
    assert json.loads(view_cluster(cluster).model_dump_json()) == read("cluster_answer")["cluster"]


def test_a_session_is_shown_as_the_golden_message_says() -> None:
    notebook = replace(
        ENDED,
        id="k7c2m4qa.abcdefgh234567ab",
        kind=Kind.NOTEBOOK,
        name="",
        parent=None,
        cluster=None,
        state=State.RUNNING,
        ended_at=None,
        exit=None,
        reason=None,
        busy_at=NOON.replace(hour=11),
    )
    worker = replace(ENDED, id="k7c2m4qa.defgh234567abcde", state=State.RUNNING, ended_at=None, exit=None)
    waiting = replace(worker, id="k7c2m4qa.efgh234567abcdef", state=State.ACCEPTED, started_at=None)
    stopped = replace(ENDED, id="k7c2m4qa.fgh234567abcdefg", wanted=Wanted.STOP)
    retired = replace(ENDED, id="k7c2m4qa.gh234567abcdefgh", exit=Exit(code=0))
    others = replace(ENDED, id="k7c2m4qa.h234567abcdefghi", parent="k7c2m4qa.another23notebook")
    session = make_session(
        notebook,
        [notebook, worker, waiting, stopped, retired, others, ENDED],
        {ENDED.cluster or "": "calc"},
        idle_end_at=NOON.replace(hour=13),
        walltime_notice_s=120,
        currency="EUR",
        paused=None,
    )
    assert json.loads(session.model_dump_json()) == read("session_answer")


def test_a_wrong_field_is_told_as_the_golden_message_says() -> None:
    problem = bad_field("base.size", "'nope' is not a size you may use.", ["small", "big"]).problem
    assert json.loads(problem.model_dump_json(exclude_none=True)) == read("problem_field")
