"""Clusters whose host is a job of its own: asked for in one request, known to nobody else, ended together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sampan_hub.jobs.model import Exit
from sampan_hub.settings.model import Environment, Limit, Limits
from tests.contract.api_site import GIB, ApiSite, Reply, make_settings, running_site

HOSTING = {"kind": "fake", "cluster_host": "job", "scheduler": {"cores": 0.5, "memory": "512M"}}
SECRETS = {"tls-certificate": "PEM", "tls-key": "KEY"}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[ApiSite]:
    limits = Limits(user=Limit(cores=4.0), raised_by="the help desk")
    async with running_site(tmp_path, make_settings(tmp_path, backends={"fake": HOSTING}, limits=limits)) as running:
        yield running


def make_request(
    name: str = "calc", workers: int = 2, batch: str = "h-0123456789abcdef", **host: Any
) -> dict[str, Any]:
    asked = {"batch": batch, "folder": "/home/ana", "secrets": SECRETS, "options": {"name": name}, **host}
    return {"name": name, "host": {**asked, "workers": [{"name": f"{name}-{number}"} for number in range(workers)]}}


async def ask(site: ApiSite, notebook: str, **request: Any) -> Reply:
    return await site.call("POST", "/clusters", notebook, make_request(**request))


async def states(site: ApiSite, cluster: str) -> dict[str, str]:
    found = await site.call("GET", "/jobs", site.admin, cluster=cluster)
    return {job["name"]: job["state"] for job in found.body["jobs"]}


async def test_one_request_makes_the_cluster_its_host_and_the_first_workers(site: ApiSite) -> None:
    notebook, credential = await site.claimed_notebook()
    answer = (await ask(site, credential)).body
    host, cluster = answer["host"], answer["cluster"]
    assert (host["kind"], host["name"], host["size"]) == ("scheduler", "calc", "scheduler")
    assert (host["cores_milli"], host["memory_bytes"]) == (500, GIB // 2)
    assert (host["parent"], host["cluster"]) == (notebook["id"], cluster["id"])
    assert [item["job"]["name"] for item in answer["workers"]["items"]] == ["calc-0", "calc-1"]
    again = (await ask(site, credential)).body
    assert (again["host"]["id"], again["workers"]["batch"]) == (host["id"], answer["workers"]["batch"])
    other = (await ask(site, credential, batch="h-fedcba9876543210")).body
    assert (other["host"]["id"], other["workers"]) == (host["id"], None), "a second kernel joins"
    assert (await states(site, cluster["id"])).keys() == {"calc", "calc-0", "calc-1"}


async def test_the_host_claims_and_works_for_its_cluster(site: ApiSite) -> None:
    _, credential = await site.claimed_notebook()
    answer = (await ask(site, credential, workers=0)).body
    claim = (await site.claim(answer["host"])).body
    assert claim["secrets"] == SECRETS
    assert claim["cluster"] == {
        "id": answer["cluster"]["id"],
        "credential": answer["credential"],
        "options": {"name": "calc"},
    }
    assert (await site.job(answer["host"]["id"]))["state"] == "starting", "it does not listen yet"
    told = {"scheduler": "tls://10.0.0.7:31007", "dashboard": "tls://10.0.0.7:31008", "state": "running"}
    await site.call("PUT", f"/clusters/{answer['cluster']['id']}", claim["cluster"]["credential"], told)
    await site.call("POST", f"/jobs/{answer['host']['id']}/report", claim["credential"], {})
    assert (await site.job(answer["host"]["id"]))["state"] == "running"
    reply = await site.submit_workers(claim["cluster"]["credential"], answer["cluster"]["id"], ["calc-0"])
    worker = (await site.claim(reply.body["items"][0]["job"])).body
    assert worker["scheduler"] == "tls://10.0.0.7:31007"
    assert worker["cluster"] is None


async def test_nobody_asks_for_a_host_alone(site: ApiSite) -> None:
    _, credential = await site.claimed_notebook()
    cluster, host = await site.make_cluster(credential)
    for who in (credential, host, site.hub, "token-of-ana"):
        base = {"kind": "scheduler", "cluster": cluster["id"]}
        request = {"batch": "h-0123456789abcdef", "base": base, "items": [{"name": "calc"}]}
        assert (await site.call("POST", "/jobs", who, request)).body["field"] in ("base.kind", "base.cluster")


async def test_a_notebook_learns_whether_to_ask_for_hosts(tmp_path: Path) -> None:
    for backend, expected in ((HOSTING, True), ({"kind": "fake"}, False)):
        folder = tmp_path / str(expected)
        folder.mkdir()
        async with running_site(folder, make_settings(folder, backends={"fake": backend})) as site:
            claim = (await site.claim(await site.start_notebook())).body
            assert claim["host_jobs"] is expected
            answer = (await ask(site, claim["credential"])).body
            assert (answer["host"] is not None) is expected
            assert (answer["workers"] is not None) is expected


async def test_what_cannot_be_had_leaves_no_cluster_behind(site: ApiSite) -> None:
    _, credential = await site.claimed_notebook()
    some = (await ask(site, credential, workers=10)).body
    assert [item["status"] for item in some["workers"]["items"]].count("accepted") == 2
    for reply in (
        await ask(site, credential, name="other", workers=2, batch="h-other-000000"),
        await ask(site, credential, name="third", workers=0, batch="h-third-000000"),
        await ask(site, credential, name="wrong", folder="relative", batch="h-wrong-000000"),
    ):
        assert reply.status in (400, 429), reply.body
    assert [cluster["name"] for cluster in await open_clusters(site, credential)] == ["calc"]


async def open_clusters(site: ApiSite, credential: str) -> list[dict[str, Any]]:
    clusters = (await site.call("GET", "/clusters", credential)).body["clusters"]
    return [cluster for cluster in clusters if cluster["state"] != "ended"]


async def test_a_cluster_ends_with_its_host_and_says_why(site: ApiSite) -> None:
    _, credential = await site.claimed_notebook()
    answer = (await ask(site, credential)).body
    await site.claim(answer["host"])
    site.backend.finish(answer["host"]["id"], Exit(signal=9))
    await site.until_state(answer["host"]["id"], "ended")
    cluster = (await site.call("GET", f"/clusters/{answer['cluster']['id']}", credential)).body
    assert (cluster["state"], cluster["reason"]["code"]) == ("ended", "host-ended")
    assert "signal 9" in cluster["reason"]["text"]

    async def all_ended() -> bool:
        return set((await states(site, cluster["id"])).values()) == {"ended"}

    await site.until(all_ended)


@pytest.mark.parametrize("host", ["job", "notebook"])
async def test_hosts_start_workers_in_their_notebooks_environment(tmp_path: Path, host: str) -> None:
    environments = {name: Environment(prefix=Path(f"/opt/{name}")) for name in ("default", "other")}
    backends = {"fake": {"kind": "fake", "cluster_host": host}}
    settings = make_settings(tmp_path, environments=environments, backends=backends)
    async with running_site(tmp_path, settings) as site:
        credential = (await site.claim(await site.start_notebook(environment="other"))).body["credential"]
        answer = (await ask(site, credential)).body
        more = await site.submit_workers(answer["credential"], answer["cluster"]["id"], ["calc-7"])
        jobs = [item["job"] for item in [*more.body["items"], *(answer["workers"] or {"items": []})["items"]]]
        assert {job["environment"] for job in [*jobs, *([answer["host"]] if answer["host"] else [])]} == {"other"}
