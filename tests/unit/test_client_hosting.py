"""A kernel and a host that is a job: beginning, waiting, finding and ending by the service's word alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sampan import ClusterFailed, Refused, WorkerWarning
from sampan._api import Service, Session
from sampan.errors import ServiceUnavailable
from sampan.host import begin as beginning
from sampan.host import handle
from sampan.host.begin import begin, find
from sampan.host.handle import AsJob
from sampan.host.hosted import Hosted
from sampan.running import list_running
from tests.wire.test_client_wire import OPTIONS

MESSAGES = Path(__file__).parents[1] / "wire" / "messages"
ANSWER: dict[str, Any] = json.loads((MESSAGES / "cluster_answer_hosted.json").read_text())
CLUSTER, HOST = ANSWER["cluster"], ANSWER["host"]
THERE = {**CLUSTER, "scheduler": "tls://10.0.0.7:31007", "dashboard": "tls://10.0.0.7:31008"}
Said = dict[str, Any] | Exception | Callable[[], dict[str, Any]]


class Scripted:
    """What the service says to each request, in order; the last one again and again."""

    def __init__(self, **answers: list[Said]) -> None:
        self.answers = answers
        self.heard: list[str] = []

    def call(self, _: Service, method: str, path: str, body: Any = None, **__: Any) -> dict[str, Any]:
        self.heard.append(f"{method} {path}")
        left = self.answers[method + path.replace("/", "_").replace(".", "_")]
        said = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(said, Exception):
            raise said
        return said() if callable(said) else said


@pytest.fixture
def session(tmp_path: Path) -> Session:
    folder = tmp_path / "job"
    folder.mkdir(mode=0o700)
    (folder / "credential").write_text("a notebook's")
    return Session("http://127.0.0.1:1", CLUSTER["parent"], folder / "credential", folder, host_jobs=True)


@pytest.fixture
def speak(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Scripted]:
    def make(**answers: list[Said]) -> Scripted:
        script = Scripted(**answers)
        monkeypatch.setattr(Service, "call", lambda *a, **b: script.call(*a, **b))
        return script

    monkeypatch.setattr(beginning, "RETRY_S", 0.0)
    monkeypatch.setattr(beginning, "_told", {ANSWER["notice"]})
    return make


def feed(cluster: dict[str, Any], **host: Any) -> dict[str, Any]:
    return {"revision": 7, "jobs": [{**HOST, **host}], "clusters": [cluster]}


def test_it_waits_until_the_host_listens(session: Session, speak: Callable[..., Scripted]) -> None:
    script = speak(POST_clusters=[ANSWER], GET_jobs=[feed(CLUSTER), ServiceUnavailable("away"), feed(THERE)])
    found = begin(session, OPTIONS)
    assert isinstance(found, AsJob)
    assert (found.scheduler, found.hosted.job) == ("tls://10.0.0.7:31007", HOST["id"])
    assert script.heard == ["POST /clusters", *["GET /jobs"] * 3]


def test_who_waits_long_hears_why(
    session: Session, speak: Callable[..., Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beginning, "TELL_AFTER_S", -1.0)
    queued = feed(CLUSTER, reason={"code": "unschedulable", "text": "No node has 0.5 cores free."})
    speak(POST_clusters=[ANSWER], GET_jobs=[queued, queued, feed(THERE)])
    with pytest.warns(WorkerWarning, match=r"calc: its scheduler has not started yet: No node has") as told:
        begin(session, OPTIONS)
    assert len(told) == 1, "each reason is said once"


def test_an_end_before_the_beginning_is_told_with_the_hosts_log(
    session: Session, speak: Callable[..., Scripted]
) -> None:
    ended = {
        **CLUSTER,
        "state": "ended",
        "reason": {"code": "host-ended", "text": "Its scheduler has ended: no image."},
    }
    log = {"lines": ["what it wrote last"], "truncated": False}
    speak(POST_clusters=[ANSWER], GET_jobs=[feed(CLUSTER), feed(ended)], **{f"GET_jobs_{_(HOST['id'])}_log": [log]})
    with pytest.raises(ClusterFailed, match=r"(?s)calc has ended before it began: .*no image.*what it wrote last"):
        begin(session, OPTIONS)


def test_one_that_never_comes_is_ended(
    session: Session, speak: Callable[..., Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beginning, "START_TIMEOUT_S", 0.0)
    script = speak(POST_clusters=[ANSWER], **{f"DELETE_clusters_{_(CLUSTER['id'])}": [CLUSTER]})
    with pytest.raises(ClusterFailed, match="was not there after 0 s"):
        begin(session, OPTIONS)
    assert script.heard[-1].startswith("DELETE")


def test_a_refusal_is_raised_as_it_is(session: Session, speak: Callable[..., Scripted]) -> None:
    speak(POST_clusters=[Refused("over the limit", status=429, code="over-limit")])
    with pytest.raises(Refused, match="over the limit"):
        begin(session, OPTIONS)


def test_where_the_service_wants_no_job_the_host_starts_beside(
    session: Session, speak: Callable[..., Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    started = {"scheduler": "tls://127.0.0.1:4", "id": CLUSTER["id"]}
    monkeypatch.setattr(beginning, "start_host", lambda *_: started)
    script = speak(POST_clusters=[{**ANSWER, "host": None, "workers": None}])
    assert begin(session, OPTIONS).facts == started
    no_jobs = Session(session.service, session.job, session.credential_file, session.job_dir)
    assert begin(no_jobs, OPTIONS).facts == started
    assert find(no_jobs, "calc") is None
    assert list_running(no_jobs) == []
    assert script.heard == ["POST /clusters"], "who cannot need one does not ask for one"


def test_a_running_one_is_found_by_name(session: Session, speak: Callable[..., Scripted]) -> None:
    speak(GET_jobs=[feed(THERE)])
    found = find(session, "calc")
    assert found is not None
    assert found.scheduler == "tls://10.0.0.7:31007"
    assert find(session, "other") is None
    speak(GET_jobs=[feed(CLUSTER)])
    assert find(session, "calc") is None, "it does not listen yet"


def test_only_the_service_knows_that_it_has_ended(
    session: Session, speak: Callable[..., Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handle, "GRACE_S", -1.0)
    monkeypatch.setattr(handle, "POLL_S", 0.001)
    host = AsJob(session, Hosted(CLUSTER["id"], "calc", HOST["id"], "running", "tls://10.0.0.7:31007", None), {})
    job, row = f"GET_jobs_{_(HOST['id'])}", f"GET_clusters_{_(CLUSTER['id'])}"
    running, ended = {"state": "running"}, {"state": "ended"}
    script = speak(
        **{
            job: [running, ServiceUnavailable("away"), running, ended],
            f"DELETE_clusters_{_(CLUSTER['id'])}": [CLUSTER],
            row: [ServiceUnavailable("away"), THERE, {**THERE, "state": "ended", "reason": {"text": "Closed."}}],
        }
    )
    assert not host.is_gone()
    assert host.await_end(20)
    assert len([heard for heard in script.heard if heard.startswith("DELETE")]) == 1
    assert [host.why_ended(), host.why_ended(), host.why_ended()] == [None, None, "Closed."]
    speak(**{job: [running], f"DELETE_clusters_{_(CLUSTER['id'])}": [CLUSTER]})
    assert not host.await_end(0.05)


def _(job_id: str) -> str:
    return job_id.replace(".", "_")
