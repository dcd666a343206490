"""How jobs of each backend reach the service, as whom they run and where they begin, out of the settings."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sampan_hub.backends.kubernetes.names import pod_name
from sampan_hub.backends.kubernetes.pod import USER_ID
from sampan_hub.backends.kubernetes.volumes import HOME as POD_HOME
from sampan_hub.backends.kubernetes.volumes import TOKEN_FILE
from sampan_hub.jobs.spec import NotRunnable, Place, Pods
from sampan_hub.settings.access import find_access
from sampan_hub.settings.address import parse_url
from sampan_hub.settings.crossing import jobs_urls
from sampan_hub.settings.kubernetes import KubernetesBackend
from sampan_hub.settings.model import BackendSettings, Settings
from sampan_hub.settings.paths import StatePaths
from sampan_hub.settings.slurm import SlurmBackend
from sampan_hub.trust.entry import read_entry_bundle

HOST = "127.0.0.1"
WITHOUT_HOME = (
    "Workers here do not see your home, which one machine at a time can hold: they have /scratch, and what you send "
    "them. (An administrator can give homes a ReadWriteMany storage class.)"
)


def base_path(settings: Settings) -> str:
    """The path all routes lie under: `/services/sampan`, below whatever path people come in by."""
    return f"{parse_url(settings.url)[2]}services/sampan"


def make_places(settings: Settings, port: int) -> Mapping[str, Place]:
    """One for each backend; `port` is the service's own on this machine. Raises KeyFileError."""
    return {name: _make_place(settings, name, backend, port) for name, backend in settings.backends.items()}


def _make_place(settings: Settings, name: str, backend: BackendSettings, port: int) -> Place:
    match backend:
        case SlurmBackend():
            return make_slurm_place(settings, backend)
        case KubernetesBackend():
            return make_pod_place(settings, name, backend)
        case _:
            return _here(settings, port)


def make_slurm_place(settings: Settings, backend: SlurmBackend) -> Place:
    """Jobs on other machines come in as people do, and run as the person who asked (or all as this one)."""
    place = Place(
        service_url=f"{(backend.reach or settings.url).rstrip('/')}/services/sampan",
        uid_of=uid_of if backend.submit_as == "themselves" else lambda _owner: os.getuid(),
        default_folder="~",
    )
    if not place.crosses_hosts:
        return place
    return replace(
        place,
        ca_bundle=read_entry_bundle(settings, StatePaths(settings.state_dir)),
        network=backend.network,
        ports=(backend.ports.first, backend.ports.last),
    )


def make_pod_place(settings: Settings, name: str, backend: KubernetesBackend) -> Place:
    """Jobs that are pods come in by the cluster's own name of the entry, and are nobody's account of this machine."""
    place = Place(
        service_url=f"{jobs_urls(settings)[name].rstrip('/')}/services/sampan",
        uid_of=lambda _owner: USER_ID,
        default_folder=POD_HOME,
        ports=(backend.ports.first, backend.ports.last),
        notice=WITHOUT_HOME if backend.storage.home.access == "ReadWriteOnce" else None,
        pods=Pods(
            file=TOKEN_FILE,
            namespace=backend.namespace or find_access(backend.kubeconfig, os.environ).namespace,
            service_account=backend.service_account,
            name_of=lambda job: pod_name(job.kind, job.id),
        ),
    )
    bundle = read_entry_bundle(settings, StatePaths(settings.state_dir)) if place.crosses_hosts else ""
    return replace(place, ca_bundle=bundle)


def is_executable(path: str) -> bool:
    """Whether a job on this machine could run this file."""
    return os.path.isfile(path) and os.access(path, os.X_OK)  # noqa: PTH113 - a Path of a text too long raises


def uid_of(owner: str) -> int:
    """The uid of the system user of this name; raises NotRunnable where there is none."""
    try:
        return pwd.getpwnam(owner).pw_uid
    except KeyError as error:
        raise NotRunnable(
            f"There is no system user {owner} here: an administrator makes the account, on this machine and the nodes."
        ) from error


def _here(settings: Settings, port: int) -> Place:
    return Place(
        service_url=f"http://{HOST}:{port}{base_path(settings)}",
        uid_of=lambda _owner: os.getuid(),
        default_folder=str(_default_folder(settings)),
        homes=_homes(settings),
    )


def _default_folder(settings: Settings) -> Path:
    """Where a notebook opens: on a laptop the folder Sampan was started for, beside its state; elsewhere the home."""
    return settings.state_dir.resolve().parent if settings.profile == "laptop" else Path.home()


def _homes(settings: Settings) -> Path | None:
    """A site whose people share one system user gives each a folder of their own, beside its state."""
    shares = settings.profile == "site" and settings.isolation == "none"
    return settings.state_dir.resolve().parent / "people" if shares else None
