"""The API as its callers meet it: submit, claim, report, follow, stop, over real HTTP and a real store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sampan_hub.jobs.model import Exit
from sampan_hub.jobs.store import Store
from tests.contract.api_site import GIB, ApiSite, running_site


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[ApiSite]:
    async with running_site(tmp_path / "state") as running:
        yield running


async def test_a_notebook_from_submit_to_its_confirmed_end(site: ApiSite) -> None:
    job = await site.start_notebook("ana", secrets={"JUPYTERHUB_API_TOKEN": "hidden"}, env={"JUPYTERHUB_USER": "ana"})
    assert (job["owner"], job["project"], job["tenant"], job["size"]) == ("ana", "common", "house", "small")
    assert job["price_micros_per_hour"] == 500_000

    claim = await site.claim(job)
    assert claim.status == 200
    assert claim.body["secrets"] == {"JUPYTERHUB_API_TOKEN": "hidden"}
    assert claim.body["env"] == {"LANG": "C.UTF-8", "JUPYTERHUB_USER": "ana"}
    assert claim.body["memory_bytes"] == GIB

    site.backend.listeners.add((job["id"], "127.0.0.1", 45678))
    address = {"address": {"host": "127.0.0.1", "port": 45678}}
    report = await site.call("POST", f"/jobs/{job['id']}/report", claim.body["credential"], address)
    assert report.status == 200
    assert report.body["state"] == "running"
    assert report.body["address"] == {"scheme": "http", "host": "127.0.0.1", "port": 45678}

    stop = await site.call("POST", "/jobs/stop", site.hub, {"ids": [job["id"]]})
    assert [item["status"] for item in stop.body["items"]] == ["stopping"]
    ended = await site.until_state(job["id"], "ended")
    assert ended["reason"]["text"] == "Stopped by the hub."
    assert job["id"] not in site.backend.running()
    again = await site.call("POST", "/jobs/stop", site.hub, {"ids": [job["id"]]})
    assert [item["status"] for item in again.body["items"]] == ["ended"]
    dead = await site.call("POST", f"/jobs/{job['id']}/report", claim.body["credential"], {"busy": True})
    assert (dead.status, dead.body["code"]) == (401, "credential-dead")


async def test_no_answer_but_the_claim_holds_a_secret(site: ApiSite) -> None:
    job = await site.start_notebook("ana", secrets={"JUPYTERHUB_API_TOKEN": "hidden-text"})
    for path in (f"/jobs/{job['id']}", "/jobs", f"/jobs/{job['id']}/log"):
        assert "hidden-text" not in str((await site.call("GET", path, site.admin)).body)


async def test_a_repeated_batch_answers_the_same_jobs_and_other_content_is_a_conflict(site: ApiSite) -> None:
    request = {"batch": "the-same-key", "base": {"kind": "notebook", "owner": "ana"}, "items": [{"name": "one"}]}
    first, second = await asyncio.gather(*(site.call("POST", "/jobs", site.hub, request) for _ in range(2)))
    assert first.body["items"][0]["job"]["id"] == second.body["items"][0]["job"]["id"]
    other = await site.call("POST", "/jobs", site.hub, {**request, "items": [{"name": "two"}]})
    assert (other.status, other.body["code"], other.body["field"]) == (409, "conflict", "batch")
    assert "the-same-key" in other.body["detail"]


async def test_a_second_notebook_of_the_same_name_is_refused_by_name(site: ApiSite) -> None:
    job = await site.start_notebook("ana")
    request = {"batch": "another-key", "base": {"kind": "notebook", "owner": "ana"}, "items": [{}]}
    item = (await site.call("POST", "/jobs", site.hub, request)).body["items"][0]
    assert item["status"] == "refused"
    assert (item["problem"]["code"], item["problem"]["existing"]) == ("notebook-exists", job["id"])


async def test_fifty_parallel_requests_never_exceed_a_limit(site: ApiSite) -> None:
    _, notebook = await site.claimed_notebook("ana")
    cluster, host = await site.make_cluster(notebook)
    replies = await asyncio.gather(
        *(site.submit_workers(host, cluster["id"], [f"w-{n}-{i}" for i in range(3)]) for n in range(50))
    )
    items = [item for reply in replies for item in reply.body["items"]]
    accepted = [item for item in items if item["status"] == "accepted"]
    assert len(accepted) == 39  # 40 cores, one of them the notebook's
    problem = next(item["problem"] for item in items if item["status"] == "refused")
    assert problem["code"] == "over-limit"
    assert problem["limit"] == "user.cores"
    assert (problem["used"], problem["asked"], problem["maximum"]) == (40_000, 1_000, 40_000)
    assert problem["raised_by"] == "the help desk"
    assert min(reply.body["allowed_now"] for reply in replies) == 0


async def test_strict_takes_all_or_none(site: ApiSite) -> None:
    _, notebook = await site.claimed_notebook("ana")
    cluster, host = await site.make_cluster(notebook)
    request = {
        "batch": "all-or-none",
        "base": {"kind": "worker"},
        "items": [{"name": f"w{n}"} for n in range(41)],
        "strict": True,
    }
    reply = await site.call("POST", "/jobs", host, request)
    assert {item["status"] for item in reply.body["items"]} == {"refused"}
    assert {item["problem"]["code"] for item in reply.body["items"]} == {"strict", "over-limit"}
    assert cluster["state"] == "starting"


async def test_a_workers_parent_is_its_clusters_notebook(site: ApiSite) -> None:
    job, notebook = await site.claimed_notebook("ana")
    cluster, host = await site.make_cluster(notebook, size="big")
    reply = await site.submit_workers(host, cluster["id"], ["calc-0"])
    worker = reply.body["items"][0]["job"]
    assert (worker["parent"], worker["cluster"]) == (job["id"], cluster["id"])
    assert (worker["owner"], worker["project"], worker["size"]) == ("ana", "common", "big")


async def test_stopping_the_notebook_ends_its_cluster_and_workers(site: ApiSite) -> None:
    job, notebook = await site.claimed_notebook("ana")
    cluster, host = await site.make_cluster(notebook)
    worker = (await site.submit_workers(host, cluster["id"], ["calc-0"])).body["items"][0]["job"]
    await site.until(lambda: site.has_started(worker["id"]))
    await site.call("POST", "/jobs/stop", site.hub, {"ids": [job["id"]]})
    await site.until_state(worker["id"], "ended")
    assert not site.backend.running()
    shown = await site.call("GET", f"/clusters/{cluster['id']}", site.admin)
    assert shown.body["state"] == "ended"
    dead = await site.call("GET", "/jobs", host)
    assert (dead.status, dead.body["code"]) == (401, "credential-dead")


# The claim


async def test_only_the_first_run_gets_the_job(site: ApiSite) -> None:
    job = await site.start_notebook("ana")
    first = await site.claim(job)
    again = await site.claim(job)
    other = await site.claim(job, run="another process")
    assert (first.status, again.status) == (200, 200)
    assert first.body == again.body
    assert (other.status, other.body["code"]) == (409, "exit")


async def test_a_bootstrap_claims_only_jobs_of_its_batch(site: ApiSite) -> None:
    job, other = await site.start_notebook("ana"), await site.start_notebook("ben")
    bootstrap = site.credential(other["batch"], "bootstrap")
    reply = await site.call("POST", f"/jobs/{job['id']}/claim", bootstrap, {"run": "x", "host": "node"})
    assert (reply.status, reply.body["code"]) == (404, "not-found")


async def test_a_job_that_is_to_stop_is_not_handed_over(site: ApiSite) -> None:
    job = await site.start_notebook("ana")
    await site.until(lambda: site.has_started(job["id"]))
    await site.call("POST", "/jobs/stop", site.hub, {"ids": [job["id"]]})
    reply = await site.claim({**job})
    assert (reply.status, reply.body["code"]) == (409, "exit")


async def test_a_workers_claim_waits_for_its_scheduler(site: ApiSite) -> None:
    _, notebook = await site.claimed_notebook("ana")
    cluster, host = await site.make_cluster(notebook)
    worker = (await site.submit_workers(host, cluster["id"], ["calc-0"], secrets={"key": "pem"})).body["items"][0][
        "job"
    ]
    waiting = asyncio.create_task(site.claim(worker))
    await site.until(lambda: _is_waiting(site))
    assert not waiting.done()
    await site.call("PUT", f"/clusters/{cluster['id']}", host, {"scheduler": "tls://127.0.0.1:4000"})
    said_at = time.monotonic()
    reply = await waiting
    assert time.monotonic() - said_at < 1
    assert reply.status == 200
    assert reply.body["scheduler"] == "tls://127.0.0.1:4000"
    assert reply.body["secrets"] == {"key": "pem"}


async def test_a_claim_that_waits_is_told_to_exit_when_the_cluster_ends(site: ApiSite) -> None:
    _, notebook = await site.claimed_notebook("ana")
    cluster, host = await site.make_cluster(notebook)
    worker = (await site.submit_workers(host, cluster["id"], ["calc-0"])).body["items"][0]["job"]
    waiting = asyncio.create_task(site.claim(worker))
    await site.until(lambda: _is_waiting(site))
    await site.call("DELETE", f"/clusters/{cluster['id']}", notebook)
    reply = await waiting
    assert (reply.status, reply.body["code"]) == (409, "exit")


async def test_a_claim_that_waited_long_is_told_to_ask_again(site: ApiSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan_hub.service.routes.words.SCHEDULER_WAIT_S", 0.2)
    _, notebook = await site.claimed_notebook("ana")
    cluster, host = await site.make_cluster(notebook)
    worker = (await site.submit_workers(host, cluster["id"], ["calc-0"])).body["items"][0]["job"]
    reply = await site.claim(worker)
    assert (reply.status, reply.body["code"], reply.headers["Retry-After"]) == (503, "scheduler-starting", "1")


# The report


async def test_only_the_jobs_own_listener_is_accepted(site: ApiSite) -> None:
    job, credential = await site.claimed_notebook("ana")
    other, _ = await site.claimed_notebook("ben")
    site.backend.listeners.add((other["id"], "127.0.0.1", 45679))
    ours = sorted(site.context.own_ports)
    assert len(ours) == 4
    for port in (45678, 45679, *ours):
        if port in ours:  # even if the backend took it for the job's
            site.backend.listeners.add((job["id"], "127.0.0.1", port))
        body = {"address": {"host": "127.0.0.1", "port": port}}
        reply = await site.call("POST", f"/jobs/{job['id']}/report", credential, body)
        assert (reply.status, reply.body["code"]) == (422, "not-your-listener"), port
    shown = await site.job(job["id"])
    assert shown["address"] is None
    assert shown["state"] != "running"


async def test_a_report_is_for_ones_own_job(site: ApiSite) -> None:
    _, credential = await site.claimed_notebook("ana")
    other, _ = await site.claimed_notebook("ben")
    reply = await site.call("POST", f"/jobs/{other['id']}/report", credential, {"busy": True})
    assert (reply.status, reply.body["code"]) == (404, "not-found")


async def test_a_worker_tells_why_it_ends(site: ApiSite) -> None:
    _, notebook = await site.claimed_notebook("ana")
    cluster, host = await site.make_cluster(notebook)
    await site.call("PUT", f"/clusters/{cluster['id']}", host, {"scheduler": "tls://127.0.0.1:4000"})
    worker = (await site.submit_workers(host, cluster["id"], ["calc-0"])).body["items"][0]["job"]
    credential = (await site.claim(worker)).body["credential"]
    failure = {"failure": {"code": "memory-limit", "text": "Used 1.1 GiB of 1 GiB."}}
    assert (await site.call("POST", f"/jobs/{worker['id']}/report", credential, failure)).status == 200
    site.backend.finish(worker["id"], Exit(code=1))
    ended = await site.until_state(worker["id"], "ended")
    assert ended["reason"] == {"code": "memory-limit", "text": "Used 1.1 GiB of 1 GiB."}


# The feed


async def test_the_feed_answers_within_a_second_of_news(site: ApiSite) -> None:
    revision = (await site.call("GET", "/jobs", site.hub)).body["revision"]
    waiting = asyncio.create_task(site.call("GET", "/jobs", site.hub, kind="notebook", revision=revision, wait=30))
    await site.until(lambda: _is_waiting(site))
    job = await site.start_notebook("ana")
    began = time.monotonic()
    reply = await waiting
    assert time.monotonic() - began < 1
    assert [shown["id"] for shown in reply.body["jobs"]] == [job["id"]]
    assert reply.body["revision"] > revision


async def test_the_feed_sees_what_another_service_wrote(site: ApiSite) -> None:
    job = await site.start_notebook("ana")
    await site.until_state(job["id"], "starting")
    revision = (await site.call("GET", "/jobs", site.hub)).body["revision"]
    waiting = asyncio.create_task(site.call("GET", "/jobs", site.hub, revision=revision, wait=30))
    await site.until(lambda: _is_waiting(site))
    state_dir = site.context.settings.state_dir
    another = Store(f"sqlite:///{state_dir}/sampan.sqlite", secrets_key=b"not needed")
    another.pause("Back at noon.")
    another.close()
    reply = await asyncio.wait_for(waiting, 5)
    assert reply.body["paused"] == "Back at noon."


async def test_the_feed_waits_no_longer_than_asked_and_not_for_others(site: ApiSite) -> None:
    revision = (await site.call("GET", "/jobs", "token-of-ana")).body["revision"]
    waiting = asyncio.create_task(site.call("GET", "/jobs", "token-of-ana", revision=revision, wait=1))
    await site.until(lambda: _is_waiting(site))
    await site.start_notebook("ben")
    reply = await waiting
    assert 0.9 < reply.took_s < 3
    assert reply.body["jobs"] == []


async def test_the_feed_tells_when_a_limit_moved(site: ApiSite) -> None:
    _, notebook = await site.claimed_notebook("ana")
    _, host = await site.make_cluster(notebook, "one")
    second, second_host = await site.make_cluster(notebook, "two")
    workers = [f"two-{n}" for n in range(39)]
    taken = (await site.submit_workers(second_host, second["id"], workers)).body["items"]
    first = (await site.call("GET", "/jobs", host)).body
    assert first["allowed_now"] == 0
    waiting = asyncio.create_task(site.call("GET", "/jobs", host, revision=first["revision"], wait=30))
    await site.until(lambda: _is_waiting(site))
    await site.call("POST", "/jobs/stop", second_host, {"ids": [item["job"]["id"] for item in taken]})
    assert (await asyncio.wait_for(waiting, 10)).body["allowed_now"] > 0


async def test_a_host_asking_for_its_cluster_renews_the_lease(site: ApiSite) -> None:
    _, notebook = await site.claimed_notebook("ana")
    cluster, host = await site.make_cluster(notebook)

    async def lease() -> str:
        return str((await site.call("GET", f"/clusters/{cluster['id']}", notebook)).body["lease_until"])

    before = await lease()
    await site.call("GET", "/jobs", notebook, cluster=cluster["id"])
    assert await lease() == before
    answer = (await site.call("GET", "/jobs", host, cluster=cluster["id"])).body
    assert [shown["id"] for shown in answer["clusters"]] == [cluster["id"]]
    assert await lease() > before


# The site


async def test_offers_and_quotes_are_for_the_person_who_asks(site: ApiSite) -> None:
    ana = (await site.call("GET", "/offers", "token-of-ana")).body
    assert (ana["projects"], ana["default_size"]) == (["common"], "small")
    assert [size["name"] for size in ana["sizes"]] == ["small", "big"]
    assert [size["allowed_now"] for size in ana["sizes"]] == [40, 10]
    ben = (await site.call("GET", "/offers", site.hub, owner="ben", project="lab")).body
    assert (ben["projects"], [size["name"] for size in ben["sizes"]]) == (["common", "lab"], ["small", "big", "gpu"])
    quote = (await site.call("GET", "/quote", "token-of-ana", size="small", n=8)).body
    assert (quote["price_micros_per_hour"], quote["currency"], quote["cores_milli"]) == (4_000_000, "EUR", 8_000)
    refused = await site.call("GET", "/quote", "token-of-ana", size="gpu")
    assert (refused.status, refused.body["field"], refused.body["allowed"]) == (400, "size", ["small", "big"])


async def test_the_pause_refuses_new_work_with_its_sentence(site: ApiSite) -> None:
    _, notebook = await site.claimed_notebook("ana")
    cluster, host = await site.make_cluster(notebook)
    assert (await site.call("PUT", "/pause", site.admin, {"sentence": "Back at noon."})).status == 200
    item = (await site.submit_workers(host, cluster["id"], ["calc-0"])).body["items"][0]
    assert (item["status"], item["problem"]["code"], item["problem"]["detail"]) == (
        "refused",
        "paused",
        "Back at noon.",
    )
    refused = await site.call("POST", "/clusters", notebook, {"name": "more"})
    assert (refused.status, refused.body["code"], refused.body["detail"]) == (409, "paused", "Back at noon.")
    assert (await site.call("GET", "/offers", "token-of-ana")).body["paused"] == "Back at noon."
    await site.call("PUT", "/pause", site.admin, {"sentence": None})
    assert (await site.submit_workers(host, cluster["id"], ["calc-1"])).body["items"][0]["status"] == "accepted"


async def test_a_log_ends_where_the_output_does(site: ApiSite) -> None:
    job = await site.start_notebook("ana")
    await site.until(lambda: site.has_started(job["id"]))
    reply = await site.call("GET", f"/jobs/{job['id']}/log", "token-of-ana", lines=5)
    assert reply.body == {"lines": [f"{job['id']} pretends to run"], "truncated": False}


async def _is_waiting(site: ApiSite) -> bool:
    return site.context.revisions.waiting > 0
