"""What bob's pod gets of alice's, of the cluster and of the service: nothing; and the same request from who may, all.

Two walls, each proved without the other: policies of the network between pods, and TLS for who gets past those, which
the node itself does. Kubernetes' own API knows pods of jobs by nothing at all.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest

from tests.kube.asking import (
    AS_A_CLIENT,
    CREDENTIALS,
    FETCH,
    LISTENERS,
    METADATA,
    STRANGER,
    Request,
    Working,
    as_bearer,
    check_nothing_said,
    encode_claims,
    probe,
    served_by_the_node,
    token_of,
)
from tests.kube.chart_rig import Release, installed
from tests.kube.conftest import REGISTRY, Images
from tests.kube.pods import make_pod, run_to_end
from tests.support.person import Person
from tests.support.pod_cluster import make_rsa
from tests.testbeds.kube.cluster import KubeCluster

pytestmark = pytest.mark.timeout(900)

LITTLE: dict[str, Any] = {
    "config": {"backends": {"kubernetes": {"scheduler": {"cores": 0.1, "memory": "500M"}}}, "default_size": "tiny"}
}
BEGIN = """
from sampan import Cluster
cluster = Cluster(1, name="work")
client = cluster.get_client()
client.wait_for_workers(1, 120)
client.publish_dataset(kept=client.submit(lambda: "-".join(["result", "of", "alice", "51c7e0d2"]), key="kept"))
"""


@pytest.fixture(scope="module")
def release(kube: KubeCluster, images: Images) -> Iterator[Release]:
    assert images.notebook.startswith(f"{REGISTRY}/")
    with installed(kube, REGISTRY, "isolation", LITTLE) as made:
        yield made


def at_work(release: Release, name: str) -> Working:
    person = Person(release, name)
    notebook = person.start(timeout_s=150, size="small")
    return Working(person, notebook, notebook.kernel())


@pytest.fixture(scope="module")
def alice(release: Release) -> Working:
    working = at_work(release, "alice")
    working.kernel.run(BEGIN, 180)
    return working


@pytest.fixture(scope="module")
def bob(release: Release) -> Working:
    return at_work(release, "bob")


@pytest.fixture(scope="module")
def hers(release: Release, alice: Working) -> list[dict[str, Any]]:
    """Where alice's pods listen, as each of them sees it: notebook, scheduler, worker."""
    found: list[dict[str, Any]] = []
    pods = {pod["metadata"]["labels"]["sampan.io/kind"]: pod for pod in release.pods(owner="alice")}
    assert set(pods) == {"notebook", "scheduler", "worker"}
    for pod in pods.values():
        argv = ("exec", pod["metadata"]["name"], "--", "/opt/sampan/bin/python", "-c", LISTENERS)
        ports = set(release.kubectl(*argv).split())
        assert ports, f"{pod['metadata']['name']} listens nowhere"
        found += [{"tcp": int(port), "host": pod["status"]["podIP"]} for port in sorted(ports)]
    return found


def test_her_pods_say_nothing_to_his(bob: Working, hers: list[dict[str, Any]]) -> None:
    report = probe(bob.kernel, hers)
    check_nothing_said(report)
    assert all(set(seen["http"].values()) <= {"silence", "ConnectionRefusedError"} for seen in report), report


def test_her_schedulers_and_workers_take_no_task_of_his(
    alice: Working, bob: Working, hers: list[dict[str, Any]]
) -> None:
    addresses = [f"tls://{address['host']}:{address['tcp']}" for address in hers]
    made = "from dask.distributed import Security\nimport types\nclient = types.SimpleNamespace(security=Security())\n"
    outcomes = json.loads(bob.kernel.run(f"{made}addresses = {addresses!r}\n{AS_A_CLIENT}", 120))
    assert outcomes == dict.fromkeys(addresses, "refused")
    own = json.loads(alice.kernel.run(f"addresses = [client.scheduler.address]\n{AS_A_CLIENT}", 60))
    assert list(own.values()) == ["3"], "the same words, to her own"


def test_who_gets_past_the_policies_meets_tls(kube: KubeCluster, hers: list[dict[str, Any]]) -> None:
    """No policy keeps a node from its pods, so what it gets is what TLS alone lets through."""
    said = kube.run([*kube.inside(), "python3", "-I", "-c", STRANGER, json.dumps(hers)], timeout_s=200).stdout
    report = json.loads(said)
    check_nothing_said(report)
    met = [seen for seen in report if any(word != "silence" for word in seen["http"].values())]
    assert len(met) == len(report), "the node does reach them"


def test_what_else_is_in_the_namespace_is_kept_from_them(
    release: Release, kube: KubeCluster, images: Images, hers: list[dict[str, Any]]
) -> None:
    """A pod that is nobody's job, in this namespace and in another, asks alice's and the database."""
    database = release.get("service", "postgresql")["spec"]["clusterIP"]
    addresses = [*hers, {"tcp": 5432, "host": database}]
    argv = ["/opt/sampan/bin/python", "-I", "-c", STRANGER, json.dumps(addresses)]
    with kube.namespace("elsewhere") as elsewhere:
        with ThreadPoolExecutor() as pool:
            ask = lambda namespace: run_to_end(kube, namespace, make_pod("stranger", images.notebook, argv), 240)  # noqa: E731
            reports = [json.loads(said) for said in pool.map(ask, (release.namespace, elsewhere))]
        for report in reports:
            check_nothing_said(report)
            answers = {word for seen in report for word in seen["http"].values()}
            assert answers <= {"silence", "ConnectionRefusedError"}, answers


def test_the_cluster_says_nothing_to_a_job(release: Release, kube: KubeCluster, images: Images, bob: Working) -> None:
    """The metadata address, the API server (by its service's address and its own), the kubelet, hub and database."""
    hub = release.component("hub")["status"]["podIP"]
    asked: dict[str, Request] = {
        "metadata": ("GET", f"http://{METADATA}/latest/meta-data/", {}, None),
        "api": ("GET", "https://10.202.0.1/version", {}, None),
        "api of the node": ("GET", f"https://{kube.NODE_IP}:6443/version", {}, None),
        "kubelet": ("GET", f"https://{kube.NODE_IP}:10250/healthz", {}, None),
        "hub": ("GET", f"https://{hub}:8443/hub/api", {}, None),
        "service": ("GET", f"https://{hub}:8444/services/sampan/readyz", {}, None),
    }
    with served_by_the_node(kube):
        got = bob.fetch(asked)
        assert {name: status for name, (status, _) in got.items()} == dict.fromkeys(asked, 0), got
        argv = ["/opt/sampan/bin/python", "-I", "-c", f"asked = {json.dumps(asked)!r}\n{FETCH}"]
        free = json.loads(run_to_end(kube, release.namespace, make_pod("free", images.notebook, argv)))
    assert CREDENTIALS in free["metadata"][1], free
    assert (free["api"][0], free["api of the node"][0]) == (200, 200), free


def test_the_service_takes_nothing_that_was_forged(release: Release, alice: Working, bob: Working) -> None:
    """For alice's job: bob's own token, tokens that he signs or does not sign, a credential that he makes up."""
    token, hers = token_of(release, bob), alice.job["id"]
    header, said, _ = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(f"{said}=="))
    pod = next(iter(release.pods(owner="alice", kind="notebook")))["metadata"]
    claims["kubernetes.io"]["pod"] = {"name": pod["name"], "uid": pod["uid"]}
    key_id = json.loads(base64.urlsafe_b64decode(f"{header}=="))["kid"]
    forged = {
        "his own token": token,
        "signed by himself": jwt.encode(claims, make_rsa(), algorithm="RS256", headers={"kid": key_id}),
        "not signed": jwt.encode(claims, "", algorithm="none", headers={"kid": key_id}),
        "with another's signature": f"{header}.{encode_claims(claims)}.{token.rpartition('.')[2]}",
        "made up": f"{hers}.notebook.{'A' * 43}",
    }
    service = bob.kernel.run("import os; print(os.environ['SAMPAN_SERVICE'])").strip()
    base = f"{service}/api/v1"
    run = {"run": pod["uid"], "host": "h"}
    asked: dict[str, Request] = {}
    for name, credential in forged.items():
        bearer = {"Authorization": f"Bearer {credential}", "Content-Type": "application/json"}
        asked[f"claim {name}"] = ("POST", f"{base}/jobs/{hers}/claim", bearer, run)
        asked[f"report {name}"] = ("POST", f"{base}/jobs/{hers}/report", bearer, {"busy": False})
        asked[f"job {name}"] = ("GET", f"{base}/jobs/{hers}", bearer, None)
        asked[f"session {name}"] = ("GET", f"{base}/session", bearer, None)
    got = bob.fetch(asked)
    assert {status for status, _ in got.values()} <= {401, 404}, got
    assert not any(alice.person.name in text for _, text in got.values()), got
    own = "from pathlib import Path; print(Path(os.environ['SAMPAN_CREDENTIAL_FILE']).read_text())"
    bearer = {"Authorization": f"Bearer {bob.kernel.run(f'import os; {own}').strip()}"}
    assert bob.fetch({"session": ("GET", f"{base}/session", bearer, None)})["session"][0] == 200, "his own is taken"


def test_the_entry_gives_him_nothing_of_hers(bob: Working, alice: Working) -> None:
    """With what his notebook has of JupyterHub, by the way that all jobs have; and she gets it from outside."""
    names = ("JUPYTERHUB_API_TOKEN", "SAMPAN_SERVICE")
    token, service = bob.kernel.run(f"import os; print(*(os.environ[name] for name in {names}))").split()
    entry, headers = service.removesuffix("/services/sampan"), {"Authorization": f"token {token}"}
    paths = ("/user/alice/api/contents", "/user/alice/api/kernels", "/user/alice/sampan/work/status")
    paths += ("/hub/api/users/alice", f"/services/sampan/api/v1/jobs/{alice.job['id']}/log")
    got = bob.fetch({path: ("GET", f"{entry}{path}", headers, None) for path in paths})
    assert {status for status, _ in got.values()} <= {403, 404}, got
    assert {alice.person.ask("GET", path)[0] for path in paths} == {200}


def test_the_api_server_knows_a_pod_by_nothing(release: Release, kube: KubeCluster, bob: Working) -> None:
    pod = f"notebook-{bob.job['id'].replace('.', '-')}"
    (mounted,) = release.kubectl("exec", pod, "--", "sh", "-c", "ls -d /var/run/secrets/* 2>&1; true").splitlines()
    assert "No such file" in mounted
    place = f"/api/v1/namespaces/{release.namespace}"
    words = ("create", "token", "sampan-jobs", f"--namespace={release.namespace}")
    minted = kube.kubectl(*words).strip()
    for path in (f"{place}/pods", f"{place}/secrets", f"{place}/configmaps", "/api/v1/nodes"):
        assert as_bearer(kube, token_of(release, bob), path) == 401, "the token of a pod is meant for Sampan alone"
        assert as_bearer(kube, minted, path) == 403, "and its account may do nothing, were it to get another"


def test_the_account_of_jobs_may_nothing_that_not_everybody_may(release: Release, kube: KubeCluster) -> None:
    with kube.namespace("nobody") as elsewhere:
        kube.kubectl("create", "serviceaccount", "nobody", "--namespace", elsewhere)
        rights = []
        for namespace, account in ((release.namespace, "sampan-jobs"), (elsewhere, "nobody")):
            groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
            who = [f"--as=system:serviceaccount:{namespace}:{account}", *(f"--as-group={group}" for group in groups)]
            said = kube.kubectl("auth", "can-i", "--list", *who, "--namespace", namespace, "--no-headers")
            rights.append({" ".join(line.split()) for line in said.splitlines()})
    assert rights[0] == rights[1]
    assert not any(word in right for right in rights[0] for word in ("pods", "secrets", "configmaps")), rights[0]
