"""Claims and reports of jobs on other machines: what they say of their address, and what they are handed for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from sampan_hub.jobs.spec import make_bootstrap
from sampan_hub.service.claims import env_at
from sampan_hub.service.places import make_places
from sampan_hub.trust.authority import common_name, is_issued_by, names_of
from sampan_hub.trust.files import read_certificate
from tests.contract.api_site import ApiSite, Reply, make_settings, running_site

FAR = {"kind": "slurm", "submit_as": "one", "network": "10.88.0.0/24", "ports": {"first": 30000, "last": 30099}}
HUB = "http://127.0.0.1:8081/hub/api"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[ApiSite]:
    settings = make_settings(tmp_path, url="https://sampan.example/", tls="own", backends={"fake": FAR})
    async with running_site(tmp_path, settings) as running:
        yield running


async def claim(site: ApiSite, job: dict[str, Any], **said: Any) -> Reply:
    await site.until(lambda: site.has_started(job["id"]))
    body = {"run": site.backend.run_of(job["id"]).token, "host": "node1", **said}
    return await site.call("POST", f"/jobs/{job['id']}/claim", site.credential(job["batch"], "bootstrap"), body)


async def test_a_notebook_is_handed_a_certificate_for_where_it_is(site: ApiSite, tmp_path: Path) -> None:
    urls = {"JUPYTERHUB_API_URL": HUB, "JUPYTERHUB_ACTIVITY_URL": f"{HUB}/users/ana/activity", "JUPYTERHUB_USER": "ana"}
    job = await site.start_notebook(env=urls)
    answer = (await claim(site, job, address="10.88.0.3")).body
    assert (answer["network"], answer["ports"]) == ("10.88.0.0/24", [30000, 30099])
    certificate = x509.load_pem_x509_certificate(answer["tls"]["certificate"].encode())
    assert names_of(certificate) == {"node1", "10.88.0.3"}
    assert common_name(certificate) == job["id"]
    assert is_issued_by(certificate, read_certificate(tmp_path / "tls" / "jobs-ca.crt"))
    assert answer["tls"]["clients"] == (tmp_path / "tls" / "front-ca.crt").read_text()
    assert answer["env"]["JUPYTERHUB_API_URL"] == "https://sampan.example/hub/api"
    assert answer["env"]["JUPYTERHUB_ACTIVITY_URL"] == "https://sampan.example/hub/api/users/ana/activity"
    assert answer["env"]["JUPYTERHUB_USER"] == "ana"
    again = (await claim(site, job, address="10.88.0.3")).body
    assert again["tls"]["key"] != answer["tls"]["key"], "each claim of the run has its own"
    assert {**again, "tls": None} == {**answer, "tls": None}


@pytest.mark.parametrize(
    ("said", "sentence"),
    [({}, "says where it will listen"), ({"address": "10.99.0.3"}, "is not in the network 10.88.0.0/24")],
)
async def test_a_claim_from_nowhere_binds_nothing(site: ApiSite, said: dict[str, str], sentence: str) -> None:
    job = await site.start_notebook()
    refused = await claim(site, job, **said)
    assert (refused.status, refused.body["field"]) == (400, "address")
    assert sentence in refused.body["detail"]
    assert (await site.job(job["id"]))["claimed_at"] is None
    assert (await claim(site, job, address="10.88.0.3")).status == 200


async def test_an_address_is_no_host_name(site: ApiSite) -> None:
    job = await site.start_notebook()
    assert (await claim(site, job, address="node1")).status == 400
    answer = (await claim(site, job, host="not a name\n", address="10.88.0.3")).body
    certificate = x509.load_pem_x509_certificate(answer["tls"]["certificate"].encode())
    assert names_of(certificate) == {"10.88.0.3"}


async def test_it_is_reached_over_tls_in_its_network_or_not_at_all(site: ApiSite) -> None:
    job = await site.start_notebook()
    credential = (await claim(site, job, address="10.88.0.3")).body["credential"]
    path = f"/jobs/{job['id']}/report"
    for host in ("10.88.0.3", "10.99.0.3", "node1", "127.0.0.1"):
        site.backend.listeners.add((job["id"], host, 30001))
    plain = await site.call("POST", path, credential, {"address": {"host": "10.88.0.3", "port": 30001}})
    assert (plain.status, plain.body["allowed"]) == (400, ["https"])
    for host in ("10.99.0.3", "node1", "127.0.0.1"):
        report = {"address": {"scheme": "https", "host": host, "port": 30001}}
        assert (await site.call("POST", path, credential, report)).body["code"] == "not-your-listener", host
    report = {"address": {"scheme": "https", "host": "10.88.0.3", "port": 30001}}
    assert (await site.call("POST", path, credential, report)).status == 200
    assert (await site.job(job["id"]))["address"] == {"scheme": "https", "host": "10.88.0.3", "port": 30001}


async def test_a_listener_that_does_not_answer_yet_is_asked_for_again(
    site: ApiSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(*_: object) -> bool:
        raise TimeoutError("no answer in 5 s")

    job = await site.start_notebook()
    credential = (await claim(site, job, address="10.88.0.3")).body["credential"]
    monkeypatch.setattr(site.backend, "owns_listener", silent)
    report = {"address": {"scheme": "https", "host": "10.88.0.3", "port": 30001}}
    reply = await site.call("POST", f"/jobs/{job['id']}/report", credential, report)
    assert (reply.status, reply.body["code"]) == (503, "listener-silent")
    assert "Retry-After" in reply.headers


async def test_workers_are_told_where_to_listen_and_handed_no_certificate(site: ApiSite) -> None:
    notebook = await site.start_notebook()
    credential = (await claim(site, notebook, address="10.88.0.3")).body["credential"]
    cluster, host = await site.make_cluster(credential)
    told = await site.call("PUT", f"/clusters/{cluster['id']}", host, {"scheduler": "tls://10.88.0.3:30002"})
    assert told.status == 200, told.body
    (item,) = (await site.submit_workers(host, cluster["id"], ["calc-0"])).body["items"]
    answer = (await claim(site, item["job"])).body
    assert (answer["network"], answer["ports"], answer["tls"]) == ("10.88.0.0/24", [30000, 30099], None)


async def test_the_bootstrap_says_whom_to_believe_and_where_to_listen(site: ApiSite, tmp_path: Path) -> None:
    job = await site.start_notebook()
    place = site.context.places["fake"]
    stored = await site.context.find_job(job["id"])
    assert stored is not None
    text = make_bootstrap(stored, b"key", place).decode()
    assert (tmp_path / "tls" / "ca.crt").read_text().splitlines()[1] in text
    assert '"service": "https://sampan.example/services/sampan"' in text
    assert '"network": "10.88.0.0/24"' in text


def test_beside_the_service_nothing_is_moved(tmp_path: Path) -> None:
    (place,) = make_places(make_settings(tmp_path), 4321).values()
    assert not place.crosses_hosts
    assert env_at(place, {"JUPYTERHUB_API_URL": HUB}) == {"JUPYTERHUB_API_URL": HUB}
