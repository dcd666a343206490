"""What the pages make of jobs and clusters; what their buttons choose; what the API page reads."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sampan_hub.identity.form import render_form
from sampan_hub.jobs.model import Cluster, ClusterState, Exit, Job, Kind, Reason, Resources, State, Wanted
from sampan_hub.service.pages.apidoc import describe_type, read_operations, read_shapes
from sampan_hub.service.pages.everything import all_rows
from sampan_hub.service.pages.listing import SHOWN_ENDED, arrange, make_row, matches
from sampan_hub.service.pages.site import prose
from sampan_hub.service.pages.stopping import chosen
from sampan_hub.settings.model import Environment, Project, Settings, Size

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR_AGO = NOW - timedelta(hours=1)
SERVER = Job(
    id="abcdefgh.aaaa",
    kind=Kind.NOTEBOOK,
    name="",
    owner="ana",
    project="personal",
    size="small",
    resources=Resources(1000, 1 << 30),
    environment="default",
    backend="local",
    batch="b",
    index=0,
    created_at=HOUR_AGO,
    state=State.RUNNING,
    state_since=HOUR_AGO,
    started_at=HOUR_AGO,
    price_micros_per_hour=250_000,
)
CLUSTER = Cluster("c1", "survey", "ana", "personal", HOUR_AGO, ClusterState.RUNNING, HOUR_AGO)
WORKER = replace(SERVER, id="abcdefgh.bbbb", kind=Kind.WORKER, name="worker-0", cluster="c1", parent=SERVER.id)


def test_everything_is_in_its_place_and_summed() -> None:
    waiting = WORKER.with_(
        id="w2", state=State.ACCEPTED, started_at=None, position=2, reason=Reason("waiting-for-capacity", "Full.")
    )
    gone = WORKER.with_(id="w3", state=State.ENDED, ended_at=NOW, started_at=NOW - timedelta(minutes=6))
    stray = WORKER.with_(id="w4", cluster="c0")
    work = arrange([SERVER, WORKER, waiting, gone, stray], [CLUSTER], "/", NOW)
    assert [row.id for row in work.servers] == [SERVER.id]
    assert [row.id for row in work.others] == ["w4"]
    assert [row.id for row in work.ended] == ["w3"]
    (cluster,) = work.clusters
    assert cluster.counts == "2 workers: 1 running, 1 waiting"
    assert cluster.reason == "Place 2 in the queue. Full."
    assert cluster.cost_micros == 250_000 + 25_000, "what its ended workers cost too"
    assert work.held == ["4 cores", "4 GiB"]
    assert work.price_micros_per_hour == 750_000, "nobody pays for what waits"
    assert work.cost_micros == 775_000
    assert {row.name for row in all_rows(work)} >= {"worker-0 of survey", "default server"}


def test_a_scheduler_that_is_a_job_is_shown_with_its_cluster_and_is_no_worker() -> None:
    scheduler = WORKER.with_(id="s1", kind=Kind.SCHEDULER, name="survey", size="scheduler", price_micros_per_hour=None)
    work = arrange([SERVER, scheduler, WORKER], [CLUSTER], "/", NOW)
    (cluster,) = work.clusters
    assert cluster.counts == "1 worker: 1 running"
    assert [row.name for row in cluster.workers] == ["scheduler", "worker-0"]
    (alone,) = arrange([SERVER, scheduler], [CLUSTER], "/", NOW).clusters
    assert alone.counts == "no workers now"


def test_a_limited_time_is_shown_until_it_is_over() -> None:
    soon = NOW + timedelta(minutes=5)
    assert make_row(SERVER, "/", NOW).deadline is None
    assert make_row(SERVER.with_(deadline=soon), "/", NOW).deadline == soon
    assert make_row(SERVER.with_(deadline=soon, state=State.ENDED, ended_at=NOW), "/", NOW).deadline is None


def test_where_nothing_is_priced_nothing_is_said_of_money() -> None:
    work = arrange([SERVER.with_(price_micros_per_hour=None)], [], "/", NOW)
    assert work.cost_micros is None
    assert work.price_micros_per_hour is None
    assert work.servers[0].cost_micros is None


def test_only_the_newest_of_what_ended_is_shown() -> None:
    ended = [
        SERVER.with_(id=f"j{number}", state=State.ENDED, ended_at=NOW - timedelta(minutes=number))
        for number in range(SHOWN_ENDED + 5)
    ]
    work = arrange(ended, [], "/", NOW)
    assert work.is_empty
    assert [row.id for row in work.ended] == [f"j{number}" for number in range(SHOWN_ENDED)]


@pytest.mark.parametrize(
    ("changes", "state", "tone"),
    [
        ({}, "running", "success"),
        ({"wanted": Wanted.STOP}, "stopping", "secondary"),
        ({"unknown_since": NOW}, "running, out of sight", "warning"),
        ({"unknown_since": HOUR_AGO, "lost": True}, "lost", "danger"),
        ({"state": State.QUEUED}, "queued", "warning"),
        ({"state": State.ENDED, "exit": Exit(code=0)}, "ended", "secondary"),
        ({"state": State.ENDED, "exit": Exit(code=3)}, "failed", "danger"),
        ({"state": State.ENDED, "exit": Exit(signal=9)}, "failed", "danger"),
        ({"state": State.ENDED, "exit": Exit(signal=15), "wanted": Wanted.STOP}, "ended", "secondary"),
    ],
)
def test_states_in_words(changes: dict[str, Any], state: str, tone: str) -> None:
    row = make_row(SERVER.with_(**changes), "/", NOW)
    assert (row.state, row.tone) == (state, tone)
    assert row.can_stop == (
        not changes or set(changes) <= {"unknown_since", "lost"} or changes.get("state") is State.QUEUED
    )


def test_a_running_server_can_be_opened_and_nothing_else() -> None:
    assert make_row(SERVER.with_(owner="a b", name="x"), "/hub-path/", NOW).open_url == "/hub-path/user/a%20b/x"
    for other in (WORKER, SERVER.with_(state=State.STARTING), SERVER.with_(wanted=Wanted.STOP)):
        assert make_row(other, "/", NOW).open_url is None


def test_a_filter_finds_every_word_anywhere() -> None:
    row = make_row(SERVER.with_(reason=Reason("x", "Out of memory")), "/", NOW)
    assert matches(row, "")
    assert matches(row, "ANA running memory")
    assert not matches(row, "ana waiting")


def test_one_button_stops_its_own_and_the_other_what_is_picked() -> None:
    picked = ["job:a", "cluster:c", "job:a", "job:b", "nonsense"]
    assert chosen({"only": ["job:z"], "pick": picked}) == (["z"], [])
    assert chosen({"only": ["cluster:z"]}) == ([], ["z"])
    assert chosen({"pick": picked}) == (["a", "b"], ["c"])
    assert chosen({}) == ([], [])


def test_the_api_is_read_out_of_its_document() -> None:
    answer = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Job"}}}, "description": "ok"}
    parameter = {"name": "wait", "in": "query", "schema": {"type": "integer"}, "description": "Seconds."}
    operation = {
        "tags": ["jobs"],
        "description": "All of them.",
        "parameters": [parameter],
        "responses": {"200": answer},
    }
    properties = {
        "id": {"type": "string"},
        "at": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
    }
    schemas = {"Job": {"properties": properties, "required": ["id"]}, "HTTPValidationError": {}}
    document = {"paths": {"/base/jobs": {"get": operation}}, "components": {"schemas": schemas}}
    (listed,) = read_operations(document, "/base")["jobs"]
    assert (listed.method, listed.path, listed.answer, listed.body) == ("GET", "/jobs", "Job", None)
    assert [(field.name, field.type, field.place) for field in listed.parameters] == [("wait", "whole number", "query")]
    (shape,) = read_shapes(document)
    assert [(field.name, field.type, field.is_required) for field in shape.fields] == [
        ("id", "text", True),
        ("at", "time or nothing", False),
    ]
    assert describe_type({"type": "array", "items": {"enum": ["a", "b"]}}) == "list of a | b"


def test_prose_shows_code_and_lets_no_markup_through() -> None:
    assert prose("Say `x<y>`.\n\n<b>") == "<p>Say <code>x&lt;y&gt;</code>.</p><p>&lt;b&gt;</p>"


def test_each_project_has_its_own_cards_and_only_one_is_chosen() -> None:
    settings = Settings(
        sizes={name: Size(cores=1, memory=1 << 30) for name in ("small", "large")},
        default_size="small",
        environments={"default": Environment(prefix="/opt/env")},
        projects={"one": Project(sizes=("small",)), "two": Project(sizes=("small", "large"))},
    )
    offers = {
        ("one", "local"): {"sizes": [{"name": "small", "free_now": 3, "allowed_now": 9}], "waiting": 0},
        ("two", "local"): {"sizes": [{"name": "large", "free_now": 0, "allowed_now": 9}], "waiting": 0},
    }
    html = " ".join(render_form(settings, "ana", {"project": "two", "size": "large"}, offers).split())
    assert html.count("required checked") == 1
    assert 'value="large" required checked data-preferred' in html
    assert '<fieldset data-sampan-project="one" hidden disabled>' in html
    assert "starts at once, 3 free now" in html
    assert "queues, position 1" in html
    gone = " ".join(render_form(settings, "ana", {"project": "gone", "size": "gone"}, offers).split())
    assert '<fieldset data-sampan-project="one" >' in gone
    assert gone.count("required checked") == 1


def test_while_others_wait_nothing_starts_at_once() -> None:
    settings = Settings(
        sizes={"small": Size(cores=1, memory=1 << 30)}, environments={"default": Environment(prefix="/opt/env")}
    )
    offers = {("personal", "local"): {"sizes": [{"name": "small", "free_now": 3, "allowed_now": 9}], "waiting": 4}}
    assert "queues, position 5" in render_form(settings, "ana", {}, offers)
