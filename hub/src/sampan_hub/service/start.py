"""From settings to one running service: keys, store, backends, reconciler, put together once."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from sampan_hub.backends.base import Backend
from sampan_hub.backends.fake import FakeBackend
from sampan_hub.backends.kubernetes import KubernetesBackend
from sampan_hub.backends.kubernetes.client import KubeClient
from sampan_hub.backends.local import LocalBackend
from sampan_hub.backends.slurm import SlurmBackend
from sampan_hub.backends.slurm.submitting import make_acting
from sampan_hub.jobs.keys import make_instance_id
from sampan_hub.jobs.reconcile import Reconciler
from sampan_hub.jobs.spec import Place, SpecRules, make_programs
from sampan_hub.jobs.store import Store
from sampan_hub.service.auth import Authenticator
from sampan_hub.service.capacities import Capacities
from sampan_hub.service.context import READERS, WRITERS, Context, Keys, StoreCalls, find_cluster, find_job, utc_now
from sampan_hub.service.hubusers import HubUsers
from sampan_hub.service.metrics import Metrics
from sampan_hub.service.places import HOST, make_places
from sampan_hub.service.ports import read_own_ports
from sampan_hub.service.revisions import Revisions
from sampan_hub.service.tokens import PodTokens, Publisher
from sampan_hub.settings import model
from sampan_hub.settings.access import AccessError, find_access
from sampan_hub.settings.address import bind_endpoint, parse_url
from sampan_hub.settings.keyfiles import create_whole, ensure_key_files, read_key
from sampan_hub.settings.kubernetes import KubernetesBackend as KubernetesSettings
from sampan_hub.settings.model import Settings
from sampan_hub.settings.paths import StatePaths
from sampan_hub.settings.slurm import SlurmBackend as SlurmSettings
from sampan_hub.trust.entry import ensure_entry
from sampan_hub.trust.front import open_front

log = logging.getLogger(__name__)


class StartError(Exception):
    """The service cannot start: what is wrong and what to do."""


BackendsMaker = Callable[[Settings, StatePaths, str], Mapping[str, Backend]]
StoreMaker = Callable[[str, bytes], Store]


def make_store(url: str, secrets_key: bytes) -> Store:
    """The store of this database."""
    return Store(url, secrets_key=secrets_key)


def make_backends(settings: Settings, paths: StatePaths, instance: str) -> Mapping[str, Backend]:
    """Every backend of the settings, by name. The first local one keeps its jobs in `jobs/`, others beside it."""
    backends: dict[str, Backend] = {}
    for name, backend in settings.backends.items():
        match backend:
            case model.LocalBackend():
                is_first = not any(isinstance(made, LocalBackend) for made in backends.values())
                root = paths.jobs if is_first else paths.jobs.with_name(f"jobs-{name}")
                backends[name] = _make_local(name, backend, root, instance, settings.environments)
            case model.FakeBackend():
                backends[name] = FakeBackend(name, start_delay_s=backend.start_delay)
            case SlurmSettings():
                backends[name] = _make_slurm(name, backend, paths, instance, settings.environments)
            case KubernetesSettings():
                backends[name] = _make_kubernetes(name, backend, paths, instance, settings.environments)
    return backends


def make_context(
    settings: Settings,
    port: int,
    *,
    store_maker: StoreMaker = make_store,
    backends_maker: BackendsMaker = make_backends,
) -> Context:
    """The service's parts, its database brought up to date; nothing runs yet. Raises StartError, KeyFileError.

    The makers are where an observer or a saboteur wraps the real store and backends.
    """
    paths = StatePaths(settings.state_dir)
    ensure_key_files(paths)
    ensure_entry(settings, paths, utc_now())
    keys = Keys(read_key(paths.key("service.key")), read_key(paths.key("signing.key")))
    url = settings.database or f"sqlite:///{paths.sampan_sqlite}"
    store = store_maker(str(url), read_key(paths.key("secrets.key")))
    store.migrate()
    instance = settle_instance(store, paths.instance)
    backends = backends_maker(settings, paths, instance)
    places = make_places(settings, port)
    own_ports = read_own_ports(paths.run / "ports.json", bind_endpoint(settings).port, port)
    hub_users = HubUsers(_hub_api(settings, own_ports.hub))
    reading = StoreCalls(READERS)
    return Context(
        settings=settings,
        instance=instance,
        keys=keys,
        store=store,
        backends=backends,
        places=places,
        pods={name: PodTokens(made.published) for name, made in backends.items() if isinstance(made, Publisher)},
        front=open_front(paths.tls, utc_now()) if any(place.crosses_hosts for place in places.values()) else None,
        reconciler=Reconciler(store, backends, settings, _make_rules(settings, paths, keys, places)),
        hub_users=hub_users,
        own_ports=own_ports.all,
        reading=reading,
        writing=StoreCalls(WRITERS),
        revisions=Revisions(partial(reading, store.revision)),
        metrics=Metrics(),
        authenticator=_make_authenticator(keys, hub_users, reading, store),
        capacities=Capacities(backends),
    )


def _make_rules(settings: Settings, paths: StatePaths, keys: Keys, places: Mapping[str, Place]) -> SpecRules:
    return SpecRules(
        service_key=keys.service,
        signing_key=keys.signing,
        environments=settings.environments,
        places=places,
        first_logins=paths.first_logins.resolve() if settings.profile == "laptop" else None,
    )


def _make_authenticator(keys: Keys, hub_users: HubUsers, reading: StoreCalls, store: Store) -> Authenticator:
    jobs, clusters = partial(find_job, reading, store), partial(find_cluster, reading, store)
    return Authenticator(keys.service, hub_users.resolve, jobs, clusters)


def settle_instance(store: Store, file: Path) -> str:
    """The one instance id, the same in the database and in the state folder, made if neither has one.

    Raises StartError when they differ: jobs carry the folder's id, and under another they would be strangers.
    """
    proposed = file.read_text().strip() if file.exists() else make_instance_id()
    instance = store.ensure_instance_id(proposed)
    if not file.exists():
        create_whole(file, f"{instance}\n".encode())
    kept = file.read_text().strip()
    if kept != instance:
        raise StartError(
            f"The database belongs to the installation {instance!r}, the state folder {file.parent} to {kept!r}. "
            f"Use the database that goes with this folder (`database:` in the settings), or another folder."
        )
    return instance


def _make_local(
    name: str, backend: model.LocalBackend, root: Path, instance: str, environments: Mapping[str, model.Environment]
) -> LocalBackend:
    if backend.cores is None or backend.memory is None:
        raise StartError(f"backends.{name} has no cores or memory: the settings were not completed.")
    cores_milli = round(backend.cores * 1000 * (backend.overcommit or 1.0))
    return LocalBackend(
        name,
        root,
        instance,
        cores_milli=cores_milli,
        memory_bytes=backend.memory,
        fork=backend.fork,
        prepared=make_programs(environments),
    )


def _make_slurm(
    name: str,
    backend: SlurmSettings,
    paths: StatePaths,
    instance: str,
    environments: Mapping[str, model.Environment],
) -> SlurmBackend:
    return SlurmBackend(
        name,
        backend,
        instance,
        signing_key=read_key(paths.key("signing.key")),
        acting=make_acting(backend),
        journal=paths.root / f"slurm-{name}.sqlite",
        environments=environments,
        prove=open_front(paths.tls, utc_now()).proves_job,
    )


def _make_kubernetes(
    name: str,
    backend: KubernetesSettings,
    paths: StatePaths,
    instance: str,
    environments: Mapping[str, model.Environment],
) -> KubernetesBackend:
    try:
        access = find_access(backend.kubeconfig, os.environ)
    except AccessError as error:
        raise StartError(f"backends.{name}: {error}.") from error
    return KubernetesBackend(
        name,
        backend,
        instance,
        KubeClient(access),
        signing_key=read_key(paths.key("signing.key")),
        journal=paths.root / f"kubernetes-{name}.sqlite",
        images={each: environment.image for each, environment in environments.items() if environment.image},
        prove=open_front(paths.tls, utc_now()).proves_job,
    )


def _hub_api(settings: Settings, hub_port: int | None) -> str:
    """Where the hub's API is: its own port where it is known, else the way people come in."""
    path = f"{parse_url(settings.url)[2]}hub/api"
    if hub_port is not None:
        return f"http://{HOST}:{hub_port}{path}"
    return settings.url.rstrip("/") + "/hub/api"
