"""What the client sends and reads, against the same golden messages as the service (run in the user environment)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sampan._api import Session
from sampan._job import Access, claim_job, report
from sampan.errors import Refused, WorkerWarning, make_error
from sampan.host import begin
from sampan.host.deadlines import read_times
from sampan.host.decide import read_ended
from sampan.host.hosted import Hosted, read_hosted
from sampan.host.jobs import read_outcomes
from sampan.host.options import (
    Options,
    make_base,
    make_cluster_request,
    make_hosted_request,
    make_offers_query,
    make_submit_request,
    read_options,
)
from sampan.host.start import choose_place
from sampan.lab.status import make_status
from sampan.report import make_quote

MESSAGES = Path(__file__).with_name("messages")


def read(name: str) -> Any:
    return json.loads((MESSAGES / f"{name}.json").read_text())


OPTIONS = Options(
    name="calc",
    workers={"small": 2},
    adapt=None,
    size="small",
    project=None,
    backend=None,
    environment=None,
    interpreter="/home/ana/env/bin/python",
    folder="/home/ana",
    idle_timeout_s=1200.0,
    versions={"python": "3.11.2", "dask": "2026.3.0"},
    env={"OMP_NUM_THREADS": "1"},
)


def test_a_cluster_is_asked_for_as_the_golden_message_says() -> None:
    assert make_cluster_request(OPTIONS) == read("cluster_request")


def test_a_cluster_with_a_host_of_its_own_is_asked_for_as_the_golden_message_says() -> None:
    golden = read("cluster_request_hosted")
    request = make_hosted_request(OPTIONS, golden["host"]["secrets"])
    assert {**request, "host": {**request["host"], "batch": golden["host"]["batch"]}} == golden
    assert len(request["host"]["batch"]) == len(golden["host"]["batch"])
    assert read_options(read("claim_answer_scheduler")["cluster"]["options"]) == OPTIONS


def test_a_host_is_found_by_its_clusters_row() -> None:
    golden = read("cluster_answer_hosted")
    worker = golden["workers"]["items"][0]["job"]
    running = {**worker, "state": "running", "name": "calc-0", "cores_milli": 2500}
    other = {**worker, "cluster": "k7c2m4qa.ddefgh234567abcd"}
    feed = {
        "jobs": [golden["host"], worker, running, other],
        "clusters": [golden["cluster"], {**golden["cluster"], "id": "?"}],
    }
    assert read_hosted(feed) == [
        Hosted(
            id="k7c2m4qa.cdefgh234567abcd",
            name="calc",
            job="k7c2m4qa.efgh234567abcdef",
            state="starting",
            scheduler=None,
            dashboard=None,
            workers=1,
            wanted=2,
            cores=2,
            memory_bytes=2**30,
        )
    ]
    assert read_hosted({**feed, "clusters": [{**golden["cluster"], "state": "ended"}]}) == []


def test_the_answer_says_where_the_scheduler_listens() -> None:
    golden = {**read("cluster_answer"), "network": "127.0.0.0/8"}
    session = Session("http://127.0.0.1:1", "job", Path("file"), Path())
    assert choose_place(session, golden) == ("127.0.0.1", (30000, 32767))


def test_offers_are_of_the_clusters_own_backend() -> None:
    query = make_offers_query(replace(OPTIONS, backend=read("offers_answer")["backend"]))
    assert query == {"project": None, "backend": "local"}


def test_workers_are_asked_for_as_the_golden_message_says() -> None:
    golden = read("submit_request_workers")
    base = make_base(OPTIONS, golden["base"]["cluster"], golden["base"]["secrets"])
    request = make_submit_request({**base, "size": None, "project": "common"}, [("calc-3", "small"), ("calc-4", "")])
    assert {**request, "batch": golden["batch"]} == golden
    assert len(request["batch"]) == len(golden["batch"])


def test_the_answer_to_a_submit_is_read() -> None:
    outcomes = read_outcomes(["calc-4", "calc-5"], read("submit_answer"))
    assert outcomes["calc-4"].job_id == "k7c2m4qa.defgh234567abcde"
    assert outcomes["calc-5"].job_id is None
    assert outcomes["calc-5"].problem is not None
    assert outcomes["calc-5"].problem["code"] == "over-limit"


def test_an_end_is_read_with_its_reason() -> None:
    ended = read_ended(read("job_ended"))
    assert ended is not None
    assert (ended.name, ended.code, ended.text) == ("calc-3", "memory-limit", "Used 1.1 GiB of 1 GiB.")
    assert read_ended(read("job_notebook")) is None


def test_the_end_of_a_walltime_is_read() -> None:
    assert read_times(read("job_notebook")) == (
        datetime(2026, 5, 4, 10, 0, 1, tzinfo=UTC).timestamp(),
        datetime(2026, 5, 4, 11, 0, 1, tzinfo=UTC).timestamp(),
    )
    left = make_status(read("session_answer"), None, datetime(2026, 5, 4, 11, 0, 0, tzinfo=UTC))
    assert left["ends_in_s"] == 1.0


def test_offers_make_a_quote() -> None:
    golden, quote = read("quote_answer"), make_quote(read("offers_answer"), 8, "small")
    assert (quote.cores * 1000, quote.memory_bytes) == (golden["cores_milli"], golden["memory_bytes"])
    assert quote.per_hour is not None
    assert (quote.per_hour.micros, quote.per_hour.currency) == (golden["price_micros_per_hour"], golden["currency"])


def test_a_claim_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    golden = read("claim_answer_worker")
    monkeypatch.setattr(Access, "post", lambda *_: golden)
    claim = claim_job(Access("http://127.0.0.1:1", "k7c2m4qa.bcdefgh234567abc", "bootstrap"))
    assert claim.access.credential == golden["credential"]
    for field in ("kind", "name", "owner", "memory_bytes", "cores_milli", "env", "secrets", "expect", "scheduler"):
        assert getattr(claim, field) == golden[field]
    assert (claim.network, claim.ports, claim.tls) == (None, None, None)


def test_a_hosts_claim_says_for_which_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    golden = read("claim_answer_scheduler")
    monkeypatch.setattr(Access, "post", lambda *_: golden)
    claim = claim_job(Access("http://127.0.0.1:1", "k7c2m4qa.efgh234567abcdef", "bootstrap"))
    assert claim.cluster == golden["cluster"]
    assert golden["cluster"]["credential"] not in repr(claim)
    assert claim.host_jobs is False
    monkeypatch.setattr(Access, "post", lambda *_: read("claim_answer_notebook"))
    assert claim_job(Access("http://127.0.0.1:1", "k7c2m4qa.bcdefgh234567abc", "bootstrap")).host_jobs is True


def test_a_claim_on_another_machine_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    golden = read("claim_answer_notebook")
    monkeypatch.setattr(Access, "post", lambda *_: golden)
    bootstrap = Access("https://127.0.0.1:1", "k7c2m4qa.bcdefgh234567abc", "bootstrap", ca="PEM", network="127.0.0.0/8")
    claim = claim_job(bootstrap)
    assert (claim.address, claim.network, claim.ports) == ("127.0.0.1", golden["network"], tuple(golden["ports"]))
    assert claim.tls == golden["tls"]
    assert claim.access.ca == "PEM", "the certificates outlive the bootstrap's credential"
    assert golden["tls"]["key"] not in repr(claim)


def test_a_claim_is_made_as_the_golden_message_says(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []

    def post(_access: Access, _verb: str, body: dict[str, Any], _patience_s: float) -> Any:
        sent.append(body)
        return read("claim_answer_worker")

    monkeypatch.setattr(Access, "post", post)
    claim_job(Access("http://127.0.0.1:1", "k7c2m4qa.bcdefgh234567abc", "bootstrap"))
    claim_job(Access("https://127.0.0.1:1", "k7c2m4qa.bcdefgh234567abc", "bootstrap", network="127.0.0.0/8"))
    assert sent[0].keys() == read("claim_request").keys() - {"address"}
    assert sent[1].keys() == read("claim_request").keys()
    assert sent[1]["address"] == "127.0.0.1"
    assert len(sent[0]["run"].split(":")) == len(read("claim_request")["run"].split(":"))


def test_reports_are_made_as_the_golden_messages_say(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []

    def post(_access: Access, _verb: str, body: Any, _patience_s: float) -> Any:
        sent.append(body)
        return {}

    monkeypatch.setattr(Access, "post", post)
    access = Access("http://127.0.0.1:1", "k7c2m4qa.bcdefgh234567abc", "credential")
    report(access, address=("127.0.0.1", 40123))
    report(access, busy=True)
    report(access, failure=("memory-limit", "Used 1.1 GiB of 1 GiB."))
    assert sent == [read("report_address"), read("report_busy"), read("report_failure")]
    report(access, address=("10.88.0.3", 30001), over_tls=True)
    assert sent[3] == {"address": {"scheme": "https", "host": "10.88.0.3", "port": 30001}}


def test_problems_become_errors_with_their_figures() -> None:
    golden = read("problem_limit")
    error = make_error(golden["status"], golden, "POST /jobs")
    assert isinstance(error, Refused)
    for field in ("code", "limit", "used", "asked", "maximum", "raised_by", "detail"):
        assert getattr(error, field) == golden[field]
    named = make_error(400, read("problem_field"), "POST /jobs")
    assert isinstance(named, Refused)
    assert (named.field, named.allowed) == ("base.size", ("small", "big"))


def test_what_holds_for_every_cluster_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(begin, "_told", set())
    notice = read("cluster_answer_hosted")["notice"]
    with pytest.warns(WorkerWarning, match="do not see your home"):
        begin.tell_once(notice)
    begin.tell_once(notice)
    begin.tell_once(read("cluster_answer")["notice"])
