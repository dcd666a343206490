"""Whatever is wrong with a request is named: the field, the allowed values, as problem details."""

from __future__ import annotations

from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from sampan_hub.backends.base import BackendError
from sampan_hub.service.guard import MAX_BODY_BYTES
from tests.contract.api_site import API, BASE, ApiSite, running_site


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[ApiSite]:
    async with running_site(tmp_path / "state") as running:
        yield running


def request(base: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    full = {"kind": "notebook", "owner": "ana", **(base or {})}
    return {"batch": "some-batch-key", "base": full, "items": [{}], **changes}


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else []


WRONG: list[tuple[dict[str, Any], str, list[str] | None]] = [
    (request({"size": "nope"}), "base.size", ["small", "big"]),
    (request(items=[{"size": "nope"}]), "items.0.size", ["small", "big"]),
    (request({"size": "gpu"}), "base.size", ["small", "big"]),
    (request({"owner": "ben", "project": "lab", "size": "nope"}), "base.size", ["small", "big", "gpu"]),
    (request({"project": "lab"}), "base.project", ["common"]),
    (request({"environment": "nope"}), "base.environment", ["default"]),
    (request({"backend": "nope"}), "base.backend", ["fake"]),
    (request({"kind": "worker"}), "base.kind", ["notebook"]),
    (request({"kind": "nope"}), "base.kind", ["notebook", "scheduler", "worker"]),
    (request({"owner": None}), "base.owner", None),
    (request({"interpreter": "python3"}), "base.interpreter", None),
    (request({"folder": "relative"}), "base.folder", None),
    (request({"env": {"LD_PRELOAD": "/tmp/x.so"}}), "base.env.LD_PRELOAD", None),
    (request({"env": {"SAMPAN_JOB": "x"}}), "base.env.SAMPAN_JOB", None),
    (request({"env": {"PATH": "/tmp"}}), "base.env.PATH", None),
    (request({"env": {"A=B": "x"}}), "base.env.A=B", None),
    (request({"env": {"A": 1}}), "base.env.A", None),
    (request({"secrets": {"../key": "x"}}), "base.secrets.../key", None),
    (request(strict=1), "strict", None),
    (request(items=[]), "items", None),
    (request(batch="short"), "batch", None),
    (request({"folder": "/a\0b"}), "body", None),
    (request(items=[{"name": "\ud800"}]), "body", None),
    (request({"env": {"\ud800": "x"}}), "body", None),
    (request({"folder": "/" + "x" * 200_000}), "body", None),
    (request(items=nested(900)), "body", None),
]


@pytest.mark.parametrize(("body", "field", "allowed"), WRONG)
async def test_a_wrong_field_is_named_with_what_is_allowed(
    site: ApiSite, body: dict[str, Any], field: str, allowed: list[str] | None
) -> None:
    reply = await site.call("POST", "/jobs", site.hub, body)
    assert reply.status == 400, reply.body
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.body["field"].startswith(field)
    assert reply.body.get("allowed") == allowed
    for value in allowed or ():
        assert value in reply.body["detail"]
    assert (await site.call("GET", "/jobs", site.hub)).body["jobs"] == []


async def test_unknown_fields_are_refused_and_the_known_ones_named(site: ApiSite) -> None:
    top = await site.call("POST", "/jobs", site.hub, request(cmd=["id"]))
    assert (top.status, top.body["field"]) == (400, "cmd")
    assert top.body["allowed"] == ["base", "batch", "items", "strict"]
    nested = await site.call("POST", "/jobs", site.hub, request({"cmd": ["id"]}))
    assert (nested.status, nested.body["field"]) == (400, "base.cmd")
    assert "interpreter" in nested.body["allowed"]
    item = await site.call("POST", "/jobs", site.hub, request(items=[{"cmd": 1}]))
    assert (item.body["field"], item.body["allowed"]) == ("items.0.cmd", ["name", "size"])


async def test_integers_are_integers(site: ApiSite) -> None:
    job, credential = await site.claimed_notebook("ana")
    for port in (True, "80", 80.5, 0, 65536, -1, 10**30):
        body = {"address": {"host": "127.0.0.1", "port": port}}
        reply = await site.call("POST", f"/jobs/{job['id']}/report", credential, body)
        assert (reply.status, reply.body["field"]) == (400, "address.port"), port
    for seconds in (True, "60", -1, 2**70):
        reply = await site.call("POST", "/clusters", credential, {"name": "calc", "idle_timeout_s": seconds})
        assert (reply.status, reply.body["field"]) == (400, "idle_timeout_s"), seconds


@pytest.mark.parametrize(
    ("query", "field", "allowed"),
    [
        ("wait=61", "wait", None),
        ("wait=-1", "wait", None),
        ("revision=x", "revision", None),
        ("revision=99999999999999999999", "revision", None),
        ("kind=nope", "kind", ["notebook", "scheduler", "worker"]),
        ("state=nope", "state.0", None),
    ],
)
async def test_a_wrong_query_is_named_too(site: ApiSite, query: str, field: str, allowed: list[str] | None) -> None:
    headers = {"Authorization": f"Bearer {site.hub}"}
    reply = await site.raw("GET", f"{API}/jobs?{query}", headers=headers)
    assert (reply.status, reply.body["field"]) == (400, field)
    if allowed:
        assert reply.body["allowed"] == allowed


async def test_every_error_is_a_problem_document(site: ApiSite) -> None:
    headers = {"Authorization": f"Bearer {site.hub}", "Content-Type": "application/json"}
    replies = {
        404: await site.raw("GET", f"{API}/nowhere", headers=headers),
        405: await site.raw("PATCH", f"{API}/jobs", headers=headers),
        400: await site.raw("POST", f"{API}/jobs", headers=headers, data=b'{"batch": '),
        413: await site.raw("POST", f"{API}/jobs", headers=headers, data=BytesIO(b" " * (MAX_BODY_BYTES + 1))),
    }
    for status, reply in replies.items():
        assert reply.status == status
        assert reply.headers["Content-Type"] == "application/problem+json"
        assert {"type", "title", "status", "detail", "code"} <= reply.body.keys()
        assert reply.body["status"] == status
    assert "POST" in replies[405].headers["Allow"]


async def test_a_large_body_sent_in_pieces_is_cut_off(site: ApiSite) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 2**20 + 2):
            yield b" " * 2**20

    headers = {"Authorization": f"Bearer {site.hub}", "Content-Type": "application/json"}
    assert (await site.raw("POST", f"{API}/jobs", headers=headers, data=pieces())).status == 413


async def test_nul_in_paths_and_queries_is_refused(site: ApiSite) -> None:
    headers = {"Authorization": f"Bearer {site.hub}"}
    for path in ("/jobs/a%00b", "/jobs?owner=a%00b"):
        reply = await site.raw("GET", API + path, headers=headers)
        assert (reply.status, reply.body["code"]) == (400, "invalid")


async def test_a_failure_of_ours_shows_no_traceback(site: ApiSite, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the secret reason")

    monkeypatch.setattr(site.context.store, "findings", broken)
    reply = await site.call("GET", "/findings", site.admin)
    assert (reply.status, reply.body["code"]) == (500, "internal")
    assert "secret reason" not in str(reply.body)


async def test_a_database_that_fails_is_a_503_so_that_everybody_asks_again(
    site: ApiSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OperationalError("INSERT a-secret", {}, Exception("database or disk is full"))

    monkeypatch.setattr(site.context.store, "findings", full)
    reply = await site.call("GET", "/findings", site.admin)
    assert (reply.status, reply.body["code"]) == (503, "database-unavailable")
    assert "disk is full" in reply.body["detail"]
    assert "a-secret" not in str(reply.body)


async def test_a_backend_that_cannot_answer_is_a_503_and_not_an_end(
    site: ApiSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, credential = await site.claimed_notebook("ana")

    async def unreachable(*_: object) -> bool:
        raise BackendError("fake: cannot be asked")

    monkeypatch.setattr(site.backend, "owns_listener", unreachable)
    monkeypatch.setattr(site.backend, "read_log", unreachable)
    body = {"address": {"host": "127.0.0.1", "port": 45678}}
    report = await site.call("POST", f"/jobs/{job['id']}/report", credential, body)
    log = await site.call("GET", f"/jobs/{job['id']}/log", site.hub)
    for reply in (report, log):
        assert (reply.status, reply.body["code"], reply.headers["Retry-After"]) == (503, "backend-unreachable", "2")
        assert "cannot be asked" in reply.body["detail"]
    shown = await site.job(job["id"])
    assert (shown["wanted"], shown["address"], shown["state"] in ("starting", "running")) == ("run", None, True)


async def test_alive_and_ready(site: ApiSite) -> None:
    assert (await site.raw("GET", f"{BASE}/healthz")).body == {"status": "alive"}

    async def is_ready() -> bool:
        return (await site.raw("GET", f"{BASE}/readyz")).status == 200

    await site.until(is_ready)


async def test_not_ready_says_what_is_wrong(site: ApiSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan_hub.service.routes.health.STALE_S", -1.0)

    async def is_listed() -> bool:
        return site.context.reconciler.last_good_listing_at["fake"] is not None

    await site.until(is_listed)
    reply = await site.raw("GET", f"{BASE}/readyz")
    assert (reply.status, reply.body["code"]) == (503, "not-ready")
    assert "'fake'" in reply.body["detail"]
    assert (await site.raw("GET", f"{BASE}/healthz")).status == 200


async def test_the_access_log_keeps_no_query_and_no_secret(site: ApiSite, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    await site.call("GET", "/jobs", "token-of-ana", owner="somebody-private")
    await site.start_notebook("ana", secrets={"JUPYTERHUB_API_TOKEN": "hidden-text"})
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("sampan_hub"))
    assert f"GET {API}/jobs 200" in ours
    for secret in ("somebody-private", "token-of-ana", "hidden-text", site.hub.rsplit(".", 1)[1]):
        assert secret not in ours
