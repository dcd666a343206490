"""Names of jobs in the proxy's targets: there for servers over TLS, and unseen by JupyterHub while they are right."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub.proxy import ConfigurableHTTPProxy

from sampan_hub.identity.routes import JobProxy, name_job, unname_job

JOB, OTHER = "aaaaaaaa.bbbbbbbbbbbbbbbb", "aaaaaaaa.cccccccccccccccc"
TARGET, NAMED = "https://10.88.0.3:30001", f"https://{JOB}@10.88.0.3:30001"


@pytest.mark.parametrize(
    ("target", "job", "named"),
    [
        (TARGET, JOB, NAMED),
        ("https://[2001:db8::3]:30001", JOB, f"https://{JOB}@[2001:db8::3]:30001"),
        ("http://127.0.0.1:4321", JOB, "http://127.0.0.1:4321"),
        (TARGET, None, TARGET),
    ],
)
def test_names_come_and_go(target: str, job: str | None, named: str) -> None:
    assert name_job(target, job) == named
    assert unname_job(named, job) == target


def test_another_jobs_name_stays_to_be_seen() -> None:
    assert unname_job(NAMED, OTHER) == NAMED
    assert unname_job(NAMED, None) == NAMED


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> JobProxy:
    """One whose requests are kept in `asked`; ana has a default server and one called `other`."""
    ana = SimpleNamespace(spawners={"": SimpleNamespace(job_id=JOB), "other": SimpleNamespace(job_id=None)})
    made = JobProxy(app=SimpleNamespace(users={"ana": ana}), should_start=False, auth_token="t")
    made.asked = []  # type: ignore[attr-defined]

    async def api_request(self: Any, path: str, method: str = "GET", body: Any = None) -> None:
        self.asked.append((method, path, body["target"]))

    monkeypatch.setattr(ConfigurableHTTPProxy, "api_request", api_request)
    return made


async def test_jupyterhub_sees_the_targets_it_gave(proxy: JobProxy) -> None:
    for data, expected in (
        ({"user": "ana", "server_name": ""}, NAMED),
        ({"user": "ana", "server_name": "other"}, TARGET),
        ({"user": "gone", "server_name": ""}, TARGET),
        ({"service": "sampan"}, TARGET),
    ):
        await proxy.add_route("/user/ana/", TARGET, dict(data))
        _, _, sent = proxy.asked.pop()  # type: ignore[attr-defined]
        assert sent == expected
        route = proxy._reformat_routespec("/user/ana/", {**data, "target": sent, "jupyterhub": True})
        assert route["target"] == TARGET


async def test_activity_is_told_now_and_then(proxy: JobProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    async def get_all_routes(_self: ConfigurableHTTPProxy) -> dict[str, Any]:
        return {"/user/ana/": {"data": {"user": "ana", "last_activity": "2026-11-23T05:00:00Z"}}}

    monkeypatch.setattr(ConfigurableHTTPProxy, "get_all_routes", get_all_routes)
    told = [set((await proxy.get_all_routes())["/user/ana/"]["data"]) for _ in range(3)]
    assert told == [{"user", "last_activity"}, {"user"}, {"user"}]
    monkeypatch.setattr("sampan_hub.identity.routes.ACTIVITY_S", 0.0)
    assert "last_activity" in (await proxy.get_all_routes())["/user/ana/"]["data"]
