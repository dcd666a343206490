"""From a recorded job to what a backend runs. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sampan_hub.backends.base import Identity, JobSpec
from sampan_hub.jobs.keys import make_credential, sign
from sampan_hub.jobs.model import Job, Kind
from sampan_hub.settings.model import Environment

MODULES = {Kind.NOTEBOOK: "sampan.notebook", Kind.WORKER: "sampan.worker", Kind.SCHEDULER: "sampan.scheduler"}
BOOTSTRAP = "bootstrap.json"
BOOTSTRAP_VARIABLE = "SAMPAN_BOOTSTRAP"
"""The same where no secret is in it."""


class NotRunnable(Exception):
    """The job's record does not say how to run it; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Pods:
    """How jobs of a place that are pods show who they are: by a token that the cluster puts into the pod."""

    file: str
    """Where in the pod."""
    namespace: str
    service_account: str
    name_of: Callable[[Job], str]
    """The pod's name."""


@dataclass(frozen=True, slots=True)
class Place:
    """What jobs of one backend share: how they reach the service, as whom they run, where they begin."""

    service_url: str
    """Where they reach the service: `http://127.0.0.1:PORT/services/sampan`."""
    uid_of: Callable[[str], int]
    """The system user of a person; raises NotRunnable for somebody who has none."""
    default_folder: str = "/"
    """Where a job begins that names no folder; `~` is the home of its system user."""
    homes: Path | None = None
    """Where several people share one system user: the folder of their own ones. None: the system user's is theirs."""
    ca_bundle: str = ""
    """Certificates (PEM) by which jobs know the service. Empty: they need none, or their machines know it."""
    network: str | None = None
    """Where jobs listen: on their machine's address in this network (CIDR). None: the one that reaches the service."""
    ports: tuple[int, int] | None = None
    """The first and last port that jobs listen on. None: any."""
    notice: str | None = None
    """What people should know of workers here before they find out. None: nothing that they would not expect."""
    pods: Pods | None = None
    """Set where jobs are pods: no secret travels with those. None: a private file with a bootstrap credential does."""

    @property
    def crosses_hosts(self) -> bool:
        """Whether its jobs may run on other machines: then they speak TLS with everybody, or not at all."""
        return self.service_url.startswith("https:")

    def home_of(self, owner: str) -> Path | None:
        """This person's own folder, `HOME` of their jobs, so that files and settings of two never mix."""
        name = quote(owner, safe="@+")
        return None if self.homes is None else self.homes / (name if name.strip(".") else name.replace(".", "%2E"))


@dataclass(frozen=True, slots=True)
class SpecRules:
    """What every job of this installation shares."""

    service_key: bytes
    signing_key: bytes
    environments: Mapping[str, Environment]
    places: Mapping[str, Place]
    """By backend."""
    first_logins: Path | None = None
    """Where notebooks keep a mark per person who was shown the examples. None: nobody is shown any."""

    def place_of(self, job: Job) -> Place:
        """Where this job runs; raises NotRunnable when its backend is not in the settings any more."""
        place = self.places.get(job.backend)
        if place is None:
            raise NotRunnable(f"The backend {job.backend} is not in the settings any more.")
        return place


def make_identity(job: Job, signing_key: bytes, uid: int) -> Identity:
    """The signed identity that travels with the job."""
    identity = Identity(
        job_id=job.id,
        kind=job.kind,
        name=job.name,
        owner=job.owner,
        project=job.project,
        tenant=job.tenant,
        size=job.size,
        environment=job.environment,
        parent=job.parent,
        cluster=job.cluster,
        batch=job.batch,
        index=job.index,
        resources=job.resources,
        price_micros_per_hour=job.price_micros_per_hour,
        uid=uid,
        created_at=job.created_at,
    )
    return sign(signing_key, identity)


def make_spec(job: Job, rules: SpecRules) -> JobSpec:
    """What the backend runs for this job: its entry point, clean variables, the private bootstrap file."""
    place = rules.place_of(job)
    environment = rules.environments.get(job.environment)
    interpreter = job.options.get("interpreter")
    if interpreter is None:
        if environment is None:
            raise NotRunnable(f"The environment {job.environment} is not in the settings any more.")
        interpreter = interpreter_of(environment)
    variables = dict(environment.variables) if environment is not None else {}
    variables.update(job.options.get("env", {}))
    variables["SAMPAN_JOB"] = job.id
    if rules.first_logins is not None and job.kind is Kind.NOTEBOOK:
        variables["SAMPAN_FIRST_LOGINS"] = str(rules.first_logins)
    home = place.home_of(job.owner)
    if home is not None:
        variables["HOME"] = str(home)
    bootstrap = make_bootstrap(job, rules.service_key, place)
    if place.pods is not None:
        variables[BOOTSTRAP_VARIABLE] = bootstrap.decode()
    return JobSpec(
        identity=make_identity(job, rules.signing_key, place.uid_of(job.owner)),
        argv=(interpreter, "-m", MODULES[job.kind]),
        env=variables,
        folder=job.options.get("folder") or str(home or place.default_folder),
        private_files={BOOTSTRAP: bootstrap} if place.pods is None else {},
    )


def make_programs(environments: Mapping[str, Environment]) -> list[tuple[tuple[str, ...], Mapping[str, str]]]:
    """What notebooks and workers of these environments will run, and with which variables: to prepare for them."""
    return [
        ((interpreter_of(environment), "-m", MODULES[kind]), environment.variables)
        for environment in environments.values()
        for kind in (Kind.NOTEBOOK, Kind.WORKER)
    ]


def interpreter_of(environment: Environment) -> str:
    return str(environment.prefix / "bin" / "python")


def make_bootstrap(job: Job, service_key: bytes, place: Place) -> bytes:
    """How a job claims itself, and whom to believe. It is the one secret that travels with a job, but not with a pod:
    that finds a token of its own in a file."""
    content = {"service": place.service_url, "job": job.id}
    if place.pods is None:
        content["credential"] = make_credential(service_key, job.batch, "bootstrap")
    else:
        content["credential_file"] = place.pods.file
    if place.ca_bundle:
        content["ca"] = place.ca_bundle
    if place.crosses_hosts and place.network is not None:
        content["network"] = place.network
    return json.dumps(content).encode()
