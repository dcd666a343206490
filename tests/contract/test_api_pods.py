"""Claims of jobs that are pods: by the token that their cluster put into them, and by nothing else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sampan_hub.backends.base import BackendError
from sampan_hub.jobs.model import Job
from sampan_hub.jobs.spec import Pods, SpecRules, make_spec
from sampan_hub.service.tokens import PodTokens
from tests.contract.api_site import ApiSite, Reply, running_site
from tests.support.pod_cluster import PodCluster, make_ec, sign

TOKEN_FILE = "/var/run/sampan/token"


def pod_name(job: Job) -> str:
    return f"{job.kind}-{job.id.replace('.', '-')}"


PODS = Pods(TOKEN_FILE, "research", "sampan-jobs", pod_name)


@pytest.fixture
def cluster() -> PodCluster:
    return PodCluster()


@pytest.fixture
async def site(tmp_path: Path, cluster: PodCluster) -> AsyncIterator[ApiSite]:
    """The fake backend's jobs are pods here, as far as the service can see."""
    async with running_site(tmp_path) as running:
        context = running.context
        context.places = {"fake": replace(context.places["fake"], pods=PODS)}
        context.pods = {"fake": PodTokens(cluster.published)}
        yield running


async def claim(site: ApiSite, job: Mapping[str, Any], token: str, uid: str | None = None) -> Reply:
    return await site.call("POST", f"/jobs/{job['id']}/claim", token, {"run": uid or run(site, job), "host": "node"})


def run(site: ApiSite, job: Mapping[str, Any]) -> str:
    return site.backend.run_of(job["id"]).token


def name_of(job: Mapping[str, Any]) -> str:
    return f"notebook-{job['id'].replace('.', '-')}"


async def started(site: ApiSite, owner: str = "ana") -> dict[str, Any]:
    job = await site.start_notebook(owner, secrets={"JUPYTERHUB_API_TOKEN": f"secret of {owner}"})
    await site.until(lambda: site.has_started(job["id"]))
    return job


async def test_a_pod_claims_its_own_job_and_no_other(site: ApiSite, cluster: PodCluster) -> None:
    mine, other = await started(site), await started(site, "ben")
    token = cluster.token(name_of(mine), run(site, mine))
    assert (await claim(site, other, token)).status == 404
    answer = await claim(site, mine, token)
    assert answer.status == 200
    assert answer.body["secrets"] == {"JUPYTERHUB_API_TOKEN": "secret of ana"}
    assert (await claim(site, mine, token)).body == answer.body, "the same run asks again: its answer was lost"
    reported = await site.call("POST", f"/jobs/{mine['id']}/report", answer.body["credential"], {"busy": True})
    assert reported.status == 200, "from then on it speaks with our own credential"
    assert (await claim(site, other, cluster.token(name_of(other), run(site, other)))).status == 200


async def test_only_the_very_pod_may_claim(site: ApiSite, cluster: PodCluster) -> None:
    job = await started(site)
    name, uid = name_of(job), run(site, job)
    for whose, (status, token) in {
        "another pod": (404, cluster.token("notebook-abcdefgh-bcdefgh234567abc", uid)),
        "another namespace": (404, cluster.token(name, uid, namespace="elsewhere")),
        "another service account": (404, cluster.token(name, uid, account="default")),
        "another audience": (401, cluster.token(name, uid, aud=["vault"])),
        "another cluster": (401, sign(cluster.claims(name, uid), make_ec(), "first")),
        "an old token": (401, cluster.token(name, uid, exp=1)),
    }.items():
        reply = await claim(site, job, token)
        assert reply.status == status, (whose, reply.body)
        assert "secret of ana" not in json.dumps(reply.body)
    assert (await claim(site, job, cluster.token(name, "uid-1"), uid="uid-2")).body["field"] == "run"


async def test_the_first_pod_of_a_job_keeps_it(site: ApiSite, cluster: PodCluster) -> None:
    job = await started(site)
    assert (await claim(site, job, cluster.token(name_of(job), run(site, job)))).status == 200
    second = await claim(site, job, cluster.token(name_of(job), "made-again"), uid="made-again")
    assert (second.status, second.body["code"]) == (409, "exit")


async def test_a_token_opens_nothing_but_the_claim(site: ApiSite, cluster: PodCluster) -> None:
    job = await started(site)
    token = cluster.token(name_of(job), run(site, job))
    for method, path, body in (
        ("GET", "/jobs", None),
        ("GET", "/whoami", None),
        ("POST", f"/jobs/{job['id']}/report", {"busy": True}),
        ("POST", "/clusters", {"name": "calc"}),
    ):
        assert (await site.call(method, path, token, body)).status == 401
    unknown = await site.call("POST", "/jobs/abcdefgh.bcdefgh234567abc/claim", token, {"run": "r", "host": "h"})
    assert unknown.status == 401, "nobody learns which jobs there are"


async def test_a_silent_cluster_lets_the_pod_ask_again(site: ApiSite, cluster: PodCluster) -> None:
    async def silent(path: str) -> Mapping[str, Any]:
        raise BackendError(f"GET {path}: connection refused")

    job = await started(site)
    site.context.pods = {"fake": PodTokens(silent)}
    reply = await claim(site, job, cluster.token(name_of(job), run(site, job)))
    assert (reply.status, reply.body["code"]) == (503, "cluster-unreachable")
    assert "Retry-After" in reply.headers


async def test_where_jobs_are_no_pods_tokens_are_nothing(site: ApiSite, cluster: PodCluster) -> None:
    job = await started(site)
    site.context.places = {"fake": replace(site.context.places["fake"], pods=None)}
    assert (await claim(site, job, cluster.token(name_of(job), run(site, job)))).status == 401


async def test_no_secret_travels_with_a_pod(site: ApiSite) -> None:
    job = await site.context.find_job((await started(site))["id"])
    assert job is not None
    context = site.context
    rules = SpecRules(context.keys.service, context.keys.signing, context.settings.environments, context.places)
    spec = make_spec(job, rules)
    assert spec.private_files == {}
    bootstrap = json.loads(spec.env["SAMPAN_BOOTSTRAP"])
    assert bootstrap == {
        "service": context.places["fake"].service_url,
        "job": job.id,
        "credential_file": TOKEN_FILE,
    }
    assert site.credential(job.batch, "bootstrap") not in repr(spec)
