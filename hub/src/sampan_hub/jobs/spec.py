"""From a recorded job to what a backend runs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sampan_hub.backends.base import Identity, JobSpec
from sampan_hub.jobs.model import Job
from sampan_hub.settings.model import Environment


@dataclass(frozen=True, slots=True)
class SpecRules:
    """What every job of this installation shares."""

    service_url: str
    """Where jobs reach the service: `http://127.0.0.1:PORT/services/sampan`."""
    service_key: bytes
    signing_key: bytes
    environments: Mapping[str, Environment]
    uid: int
    default_folder: str


def make_identity(job: Job, signing_key: bytes, uid: int) -> Identity:
    """The signed identity that travels with the job."""
    raise NotImplementedError


def make_spec(job: Job, rules: SpecRules) -> JobSpec:
    """What the backend runs for this job: its entry point, clean variables, the private bootstrap file."""
    raise NotImplementedError
