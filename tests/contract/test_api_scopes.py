"""Every route with every kind of caller: who gets in, who is told nothing, who is told no."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.contract.api_site import API, BASE, ApiSite, running_site


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[ApiSite]:
    async with running_site(tmp_path / "state") as running:
        yield running


@dataclass(frozen=True, slots=True)
class World:
    """Ana's notebook, cluster and worker; Ben's notebook and cluster; and everybody's credentials."""

    callers: Mapping[str, str | None]
    ids: Mapping[str, str]


CALLERS = ("hub", "admin", "bootstrap", "notebook", "scheduler", "worker", "ana", "ben", "eve")

# 200: may. 403: this kind of caller may not. 404: what is named is not theirs to know of. 401: nobody.
# One digit per caller, in the order of CALLERS: 2 = 200, 3 = 403, 4 = 404, b = 400, c = 409.
TABLE: tuple[tuple[str, str, str, Any], ...] = (
    ("GET", "/jobs", "223223222", None),
    ("GET", "/jobs/{ana_notebook}", "223243242", None),
    ("GET", "/jobs/{ana_worker}", "223223242", None),
    ("GET", "/jobs/{ben_notebook}", "223443422", None),
    ("GET", "/jobs/{nobody}", "443443444", None),
    ("GET", "/jobs/{ana_worker}/log", "223223242", None),
    ("GET", "/jobs/{ben_notebook}/log", "223443422", None),
    ("POST", "/jobs/{ana_notebook}/claim", "33c333333", {"run": "another", "host": "node"}),
    ("POST", "/jobs/{ben_notebook}/claim", "334333333", {"run": "another", "host": "node"}),
    ("POST", "/jobs/{ana_notebook}/report", "333234333", {"busy": True}),
    ("POST", "/jobs/{ana_worker}/report", "333432333", {"busy": True}),
    ("POST", "/clusters", "333233222", {"name": "fresh"}),
    ("GET", "/clusters", "223223222", None),
    ("GET", "/clusters/{ana_cluster}", "223223242", None),
    ("GET", "/clusters/{ben_cluster}", "223443422", None),
    ("PUT", "/clusters/{ana_cluster}", "333323333", {"busy": True}),
    ("PUT", "/clusters/{ben_cluster}", "333343333", {"busy": True}),
    ("DELETE", "/clusters/{ben_cluster}", "223443422", None),
    ("GET", "/session", "333233333", None),
    ("GET", "/offers", "bb3223222", None),
    ("GET", "/quote", "bb3223222", None),
    ("GET", "/whoami", "223222222", None),
    ("GET", "/findings", "323333332", None),
    ("GET", "/pause", "223223222", None),
    ("PUT", "/pause", "323333332", {"sentence": None}),
)
STATUS = {"2": 200, "3": 403, "4": 404, "b": 400, "c": 409}


async def make_world(site: ApiSite) -> World:
    ana, ana_notebook = await site.claimed_notebook("ana")
    ben, ben_notebook = await site.claimed_notebook("ben")
    cluster, host = await site.make_cluster(ana_notebook)
    ben_cluster, _ = await site.make_cluster(ben_notebook)
    await site.call("PUT", f"/clusters/{cluster['id']}", host, {"scheduler": "tls://127.0.0.1:4000"})
    worker = (await site.submit_workers(host, cluster["id"], ["calc-0"])).body["items"][0]["job"]
    worker_credential = (await site.claim(worker)).body["credential"]
    return World(
        callers={
            "hub": site.hub,
            "admin": site.admin,
            "bootstrap": site.credential(ana["batch"], "bootstrap"),
            "notebook": ana_notebook,
            "scheduler": host,
            "worker": worker_credential,
            "ana": "token-of-ana",
            "ben": "token-of-ben",
            "eve": "token-of-eve",
        },
        ids={
            "ana_notebook": ana["id"],
            "ben_notebook": ben["id"],
            "ana_worker": worker["id"],
            "ana_cluster": cluster["id"],
            "ben_cluster": ben_cluster["id"],
            "nobody": "aaaaaaaa.aaaaaaaaaaaaaaaa",
        },
    )


async def test_every_route_with_every_caller(site: ApiSite) -> None:
    world = await make_world(site)
    wrong = []
    for method, path, expected, body in TABLE:
        for caller, digit in zip(CALLERS, expected, strict=True):
            reply = await site.call(method, path.format(**world.ids), world.callers[caller], body)
            if reply.status != STATUS[digit]:
                wrong.append(f"{method} {path} as {caller}: {reply.status}, not {STATUS[digit]}: {reply.body}")
    assert not wrong, "\n".join(wrong)


async def test_the_table_is_of_every_route(site: ApiSite) -> None:
    paths = (await site.raw("GET", f"{API}/openapi.json")).body["paths"]
    served = {(method.upper(), path.removeprefix(API)) for path, methods in paths.items() for method in methods}
    tested = {(method, path.split("{")[0]) for method, path, _, _ in TABLE}
    own_tests = {("POST", "/jobs"), ("POST", "/jobs/stop")} | {
        ("GET", f"{BASE}/{name}") for name in ("healthz", "readyz", "metrics")
    }
    assert {(method, path.split("{")[0]) for method, path in served} - own_tests == {
        (method, path) for method, path in tested
    }


async def test_nobody_gets_anywhere(site: ApiSite) -> None:
    world = await make_world(site)
    forged = world.callers["scheduler"] or ""
    for credential in (None, "", "no-such-token", forged[:-3] + "abc", f"{world.ids['ana_notebook']}.notebook."):
        for method, path, _, body in TABLE:
            reply = await site.call(method, path.format(**world.ids), credential, body)
            assert reply.status == 401, (credential, method, path, reply.body)
            assert reply.body["code"] == "not-authenticated"
            assert reply.headers["WWW-Authenticate"].startswith("Bearer")


async def test_unknown_and_foreign_ids_answer_alike(site: ApiSite) -> None:
    world = await make_world(site)
    foreign = await site.call("GET", f"/jobs/{world.ids['ben_notebook']}", "token-of-ana")
    unknown = await site.call("GET", f"/jobs/{world.ids['nobody']}", "token-of-ana")
    assert foreign.status == unknown.status == 404
    assert {**foreign.body, "detail": ""} == {**unknown.body, "detail": ""}
    assert foreign.body["detail"].replace(world.ids["ben_notebook"], world.ids["nobody"]) == unknown.body["detail"]


@pytest.mark.parametrize(
    ("caller", "stopped"),
    [
        ("ben", {"ben_notebook"}),
        ("notebook", {"ana_worker"}),
        ("scheduler", {"ana_worker"}),
        ("ana", {"ana_worker", "ana_notebook"}),
        ("hub", {"ana_worker", "ana_notebook", "ben_notebook"}),
        ("eve", {"ana_worker", "ana_notebook", "ben_notebook"}),
    ],
)
async def test_one_stops_what_is_ones_own(site: ApiSite, caller: str, stopped: set[str]) -> None:
    world = await make_world(site)
    names = ("ana_worker", "ana_notebook", "ben_notebook", "nobody")
    body = {"ids": [world.ids[name] for name in names]}
    reply = await site.call("POST", "/jobs/stop", world.callers[caller], body)
    items = dict(zip(names, reply.body["items"], strict=True))
    assert {name for name, item in items.items() if item["status"] != "refused"} == stopped
    assert {item["problem"]["status"] for item in items.values() if item["status"] == "refused"} == {404}
    for name in {"ana_worker", "ana_notebook", "ben_notebook"} - stopped:
        assert (await site.job(world.ids[name]))["wanted"] == "run"


@pytest.mark.parametrize("caller", ["bootstrap", "worker"])
async def test_neither_bootstraps_nor_workers_stop_or_submit(site: ApiSite, caller: str) -> None:
    world = await make_world(site)
    stop = await site.call("POST", "/jobs/stop", world.callers[caller], {"ids": [world.ids["ana_worker"]]})
    submit = await site.submit_workers(world.callers[caller] or "", world.ids["ana_cluster"], ["more"])
    assert (stop.status, submit.status) == (403, 403)


async def test_submitting_is_for_ones_own_cluster(site: ApiSite) -> None:
    world = await make_world(site)

    async def status(caller: str, cluster: str) -> int:
        return (await site.submit_workers(world.callers[caller] or "", world.ids[cluster], [f"by-{caller}"])).status

    for caller in ("notebook", "scheduler", "ana"):
        assert await status(caller, "ana_cluster") == 200
    assert await status("notebook", "ben_cluster") == 404
    assert await status("scheduler", "ben_cluster") == 400
    assert await status("ana", "ben_cluster") == 404
    assert await status("eve", "ana_cluster") == 404  # an administrator sees it, and cannot work at Ana's cost
    assert await status("hub", "ana_cluster") == 400


async def test_the_feed_shows_each_only_their_own(site: ApiSite) -> None:
    world = await make_world(site)

    async def seen(caller: str, **query: str) -> set[str]:
        reply = await site.call("GET", "/jobs", world.callers[caller], **query)
        ids = {shown["id"] for shown in [*reply.body["jobs"], *reply.body["clusters"]]}
        return {name for name, known in world.ids.items() if known in ids}

    everything = {"ana_notebook", "ana_worker", "ana_cluster", "ben_notebook", "ben_cluster"}
    assert await seen("hub") == await seen("eve") == await seen("admin") == everything
    assert await seen("ana") == {"ana_notebook", "ana_worker", "ana_cluster"}
    assert await seen("notebook") == {"ana_worker", "ana_cluster"}
    assert await seen("scheduler") == {"ana_worker", "ana_cluster"}
    assert await seen("ben") == {"ben_notebook", "ben_cluster"}
    assert await seen("ana", owner="ben") == set()
    assert await seen("ben", cluster=world.ids["ana_cluster"]) == set()
    assert await seen("scheduler", cluster=world.ids["ben_cluster"]) == set()
    assert await seen("hub", owner="ben") == {"ben_notebook", "ben_cluster"}


# JupyterHub's tokens


async def test_a_token_is_asked_for_once_in_ten_seconds(site: ApiSite) -> None:
    for _ in range(5):
        assert (await site.call("GET", "/whoami", "token-of-ana")).body["owner"] == "ana"
    assert site.hub_questions == ["token-of-ana"]


@pytest.mark.parametrize("token", ["narrow-token-of-ana", "token-of-a-service"])
async def test_a_token_that_does_not_reach_the_service_is_refused(site: ApiSite, token: str) -> None:
    reply = await site.call("GET", "/whoami", token)
    assert reply.status in (401, 403)
    if reply.status == 403:
        assert "access:services!service=sampan" in reply.body["detail"]


async def test_a_narrow_token_of_an_administrator_is_no_administrators(site: ApiSite) -> None:
    assert (await site.call("GET", "/whoami", "narrow-token-of-eve")).body["admin"] is False
    assert (await site.call("GET", "/findings", "narrow-token-of-eve")).status == 403
    assert (await site.call("GET", "/findings", "token-of-eve")).status == 200


async def test_while_the_hub_is_down_credentials_work_and_tokens_wait(site: ApiSite) -> None:
    _, notebook = await site.claimed_notebook("ana")
    site.hub_status = 503
    reply = await site.call("GET", "/whoami", "token-of-ben")
    assert (reply.status, reply.body["code"], reply.headers["Retry-After"]) == (503, "hub-unreachable", "2")
    assert (await site.call("GET", "/whoami", notebook)).status == 200
    site.hub_status = 200
    assert (await site.call("GET", "/whoami", "token-of-ben")).status == 200


async def test_the_word_token_and_the_word_bearer_mean_the_same(site: ApiSite) -> None:
    for word in ("token", "Token", "bearer", "Bearer"):
        for secret in ("token-of-ana", site.hub):
            reply = await site.raw("GET", f"{API}/whoami", headers={"Authorization": f"{word} {secret}"})
            assert reply.status == 200
    assert (await site.raw("GET", f"{API}/whoami", headers={"Authorization": f"Basic {site.hub}"})).status == 401


async def test_a_genuine_credential_without_a_row_is_told_to_wait(site: ApiSite) -> None:
    reply = await site.call("GET", "/whoami", site.credential("aaaaaaaa.aaaaaaaaaaaaaaaa", "notebook"))
    assert (reply.status, reply.body["code"]) == (503, "not-on-record")


async def test_metrics_are_for_administrators_and_the_hub(site: ApiSite) -> None:
    world = await make_world(site)
    for caller in CALLERS:
        headers = {"Authorization": f"Bearer {world.callers[caller]}"}
        reply = await site.raw("GET", f"{BASE}/metrics", headers=headers)
        assert reply.status == (200 if caller in ("hub", "admin", "eve") else 403)
        if reply.status == 200:
            assert 'sampan_jobs{kind="notebook"' in reply.body
            assert 'sampan_listing_age_seconds{backend="fake"}' in reply.body
    assert (await site.raw("GET", f"{BASE}/metrics")).status == 401
