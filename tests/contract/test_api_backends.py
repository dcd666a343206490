"""A site with several backends: what is offered on each, who may run where, and where schedulers listen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sampan_hub.settings.model import Project
from tests.contract.api_site import GIB, ApiSite, make_settings, running_site

FAR = {"kind": "slurm", "submit_as": "one", "network": "10.88.0.0/24", "ports": {"first": 30000, "last": 30099}}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[ApiSite]:
    settings = make_settings(
        tmp_path,
        url="https://sampan.example/",
        tls="own",
        backends={
            "fake": {"kind": "fake", "workers_on": ["fake", "far"]},
            "here": {"kind": "local", "cores": 2.0, "memory": 8 * GIB},
            "far": FAR,
        },
        projects={"common": Project(), "lab": Project(backends=("far", "here"))},
    )
    async with running_site(tmp_path, settings) as running:
        yield running


async def test_offers_are_of_one_backend(site: ApiSite) -> None:
    offered = {}
    for backend in ("fake", "here", "far"):
        answer = (await site.call("GET", "/offers", "token-of-ana", backend=backend)).body
        assert (answer["backends"], answer["backend"]) == (["fake", "here", "far"], backend)
        offered[backend] = {size["name"]: size["free_now"] for size in answer["sizes"]}
    assert offered == {
        "fake": {"small": None, "big": None, "gpu": None},
        "here": {"small": 2},
        "far": {"small": None, "big": None, "gpu": None},
    }
    without = (await site.call("GET", "/offers", "token-of-ana")).body
    assert (without["backend"], len(without["sizes"])) == ("fake", 3)
    lab = (await site.call("GET", "/offers", site.hub, owner="ana", project="lab")).body
    assert (lab["backends"], lab["backend"], lab["default_size"]) == (["here", "far"], "here", "small")
    refused = await site.call("GET", "/offers", site.hub, owner="ana", project="lab", backend="fake")
    assert (refused.status, refused.body["field"], refused.body["allowed"]) == (400, "backend", ["here", "far"])
    quote = await site.call("GET", "/quote", "token-of-ana", size="big", backend="here")
    assert (quote.status, quote.body["allowed"]) == (400, ["small"])


async def test_who_waits_is_counted_where_they_wait(site: ApiSite) -> None:
    async def waiting(backend: str) -> int:
        return (await site.call("GET", "/offers", "token-of-ana", backend=backend)).body["waiting"]

    async def one_waits() -> bool:
        return await waiting("here") == 1

    for name in ("one", "two", "three"):
        await site.start_notebook(name=name, backend="here")
    await site.until(one_waits)
    assert await waiting("fake") == 0


async def test_a_server_runs_where_it_was_asked_for(site: ApiSite) -> None:
    assert (await site.start_notebook())["backend"] == "fake"
    assert (await site.start_notebook(name="two", project="lab"))["backend"] == "here"
    assert (await site.start_notebook(name="three", backend="far"))["backend"] == "far"
    for base, field, allowed in (
        ({"project": "lab", "backend": "fake"}, "base.backend", ["here", "far"]),
        ({"backend": "here", "size": "big"}, "base.size", ["small"]),
    ):
        whole = {"kind": "notebook", "owner": "ana", **base}
        request = {"batch": "refused-batch", "base": whole, "items": [{"name": "x"}]}
        reply = await site.call("POST", "/jobs", site.hub, request)
        assert (reply.status, reply.body["field"], reply.body["allowed"]) == (400, field, allowed)


async def test_a_cluster_runs_where_its_notebook_may_feed(site: ApiSite) -> None:
    _, notebook = await site.claimed_notebook()
    offers = (await site.call("GET", "/offers", notebook)).body
    assert (offers["backends"], offers["backend"]) == (["fake", "far"], "fake")
    refused = await site.call("POST", "/clusters", notebook, {"name": "calc", "backend": "here"})
    assert (refused.status, refused.body["field"], refused.body["allowed"]) == (400, "backend", ["fake", "far"])
    assert "A notebook on fake may not have workers on here" in refused.body["detail"]
    beside = (await site.call("POST", "/clusters", notebook, {"name": "beside"})).body
    assert (beside["network"], beside["ports"]) == (None, None)
    away = (await site.call("POST", "/clusters", notebook, {"name": "away", "backend": "far"})).body
    assert (away["network"], away["ports"]) == ("10.88.0.0/24", [30000, 30099])
    host = away["credential"]
    offers = (await site.call("GET", "/offers", host)).body
    assert (offers["backends"], offers["backend"]) == (["far"], "far")
    (item,) = (await site.submit_workers(host, away["cluster"]["id"], ["away-0"])).body["items"]
    assert item["job"]["backend"] == "far"
    elsewhere = await site.submit_workers(host, away["cluster"]["id"], ["away-1"], backend="fake")
    assert (elsewhere.status, elsewhere.body["field"], elsewhere.body["allowed"]) == (400, "base.backend", ["far"])
