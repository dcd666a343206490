"""What the one run that may work under a job's id is handed, where that run is."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlsplit

from sampan_hub.jobs.drafts import Claim
from sampan_hub.jobs.keys import CredentialKind, make_credential
from sampan_hub.jobs.model import Job, Kind
from sampan_hub.jobs.spec import Place
from sampan_hub.service.context import Context
from sampan_hub.service.problems import bad_field
from sampan_hub.service.wire import ClaimAnswer, ClaimRequest, ClusterClaim, TlsView
from sampan_hub.settings.fitting import backends_fed_from

HUB_URLS = ("JUPYTERHUB_API_URL", "JUPYTERHUB_ACTIVITY_URL")
"""Where a notebook's server finds the hub. JupyterHub names its own port on its own machine."""
_HOST_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", re.I)


def make_claim_answer(
    context: Context, claimed: Claim, names: frozenset[str], scheduler: str | None, now: datetime
) -> ClaimAnswer:
    """Credential, environment, secrets, and how to listen where the job runs; `names`: from `certificate_names`."""
    job = claimed.job
    place = context.places.get(job.backend)
    environment = context.settings.environments.get(job.environment)
    env = {**(environment.variables if environment else {}), **(job.options.get("env") or {})}
    kind: CredentialKind = "notebook" if job.kind is Kind.NOTEBOOK else "worker"
    crosses = place is not None and place.crosses_hosts
    return ClaimAnswer(
        credential=make_credential(context.keys.service, job.id, kind),
        kind=job.kind,
        name=job.name,
        owner=job.owner,
        memory_bytes=job.resources.memory_bytes,
        cores_milli=job.resources.cores_milli,
        env=env_at(place, env) if place else env,
        secrets=dict(claimed.secrets),
        expect=dict(job.options.get("expect") or {}),
        scheduler=scheduler,
        network=place.network if place and crosses else None,
        ports=place.ports if place and crosses else None,
        tls=_make_tls(context, job, names, now) if names else None,
        cluster=_make_cluster_claim(context, job),
        host_jobs=job.kind is Kind.NOTEBOOK and _has_host_jobs(context, job),
    )


def _make_cluster_claim(context: Context, job: Job) -> ClusterClaim | None:
    if job.kind is not Kind.SCHEDULER or job.cluster is None:
        return None
    credential = make_credential(context.keys.service, job.cluster, "scheduler")
    return ClusterClaim(id=job.cluster, credential=credential, options=job.options.get("host") or {})


def _has_host_jobs(context: Context, notebook: Job) -> bool:
    """Whether the host of some cluster of this notebook would be a job."""
    backends = context.settings.backends
    return any(backends[name].cluster_host == "job" for name in backends_fed_from(context.settings, notebook.backend))


def env_at(place: Place, env: Mapping[str, str]) -> dict[str, str]:
    """The environment with the hub where jobs of this place reach it: through the entry, like the service."""
    if not place.crosses_hosts:
        return dict(env)
    entry = urlsplit(place.service_url)
    moved = {
        name: urlsplit(env[name])._replace(scheme=entry.scheme, netloc=entry.netloc).geturl()
        for name in HUB_URLS
        if env.get(name)
    }
    return {**env, **moved}


def certificate_names(context: Context, job: Job, request: ClaimRequest) -> frozenset[str]:
    """Under which names this notebook is reached, by its own words; none for what is reached by nobody over TLS.

    Raises a problem for an address where nothing of its backend listens.
    """
    place = context.places.get(job.backend)
    if place is None or not place.crosses_hosts or job.kind is not Kind.NOTEBOOK:
        return frozenset()
    if request.address is None:
        raise bad_field("address", "A notebook on another machine says where it will listen.")
    if not listens_there(place, str(request.address)):
        detail = f"{request.address} is not in the network {place.network}, where notebooks of this backend listen."
        raise bad_field("address", detail)
    return frozenset({str(request.address), *([request.host] if _HOST_NAME.fullmatch(request.host) else [])})


def listens_there(place: Place, host: str) -> bool:
    """Whether jobs of this place listen at that address; a name is none."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return place.network is None or address in ipaddress.ip_network(place.network)


def _make_tls(context: Context, job: Job, names: frozenset[str], now: datetime) -> TlsView | None:
    if context.front is None:
        return None
    handed = context.front.issue(job.id, names, now)
    return TlsView(certificate=handed.certificate, key=handed.key, clients=handed.clients)
