"""From a submit request to the draft the store takes: every choice made, every wrong one named. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from sampan_hub.jobs.drafts import BatchDraft, ClusterDraft, ItemDraft
from sampan_hub.jobs.model import Cluster, Kind, Resources
from sampan_hub.service.auth import Caller
from sampan_hub.service.choices import (
    backend_names,
    default_environment,
    default_size,
    project_names,
    resources_of,
    size_names,
    tenant_of,
)
from sampan_hub.service.problems import bad_field, fail
from sampan_hub.service.wire import ClusterRequest, HostBase, JobBase, JobItem, SubmitRequest
from sampan_hub.settings.fitting import misfit
from sampan_hub.settings.model import LocalBackend, Settings

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SECRET_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
WORKER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
SERVER_NAME_LENGTH = 255
SCHEDULER_SIZE = "scheduler"
"""What is written as the size of a job that hosts a cluster: it is the backend's to set, and nobody's to choose."""

OURS = re.compile(r"SAMPAN_.*|LD_.*|DYLD_.*|PATH|HOME|USER|LOGNAME|SHELL|PYTHONHOME|BASH_ENV|ENV|IFS")
"""Variables that Sampan or the system's loader decides by; a request may not set them."""
HUBS = re.compile(r"(JUPYTERHUB|JPY)_.*")
"""Variables that only the hub may set."""


@dataclass(frozen=True, slots=True)
class Site:
    """What intake decides by: the settings, and how to see whether a file can be run here."""

    settings: Settings
    is_executable: Callable[[str], bool]
    environment: str | None = None
    """Of the notebook that what is asked for belongs to, itself or by its cluster's host."""


def make_batch_draft(request: SubmitRequest, caller: Caller, cluster: Cluster | None, site: Site) -> BatchDraft:
    """The draft for this caller's request; raises the problem that names the wrong field.

    `cluster` is the row that `base.cluster` (or the caller's credential) names, seen by this caller.
    """
    base, settings = request.base, site.settings
    kind = _kind(base, caller)
    owner = _owner(base, caller)
    if kind is Kind.WORKER and cluster is None:
        raise bad_field("base.cluster", "A worker belongs to a cluster: name one of yours.")
    project = _project(settings, owner, base.project or (cluster.project if cluster else None), "base.project")
    backend = _backend(settings, project, base.backend or (cluster.backend if cluster else None), "base.backend")
    if cluster is not None and backend != cluster.backend:
        detail = f"The workers of {cluster.name} run on {cluster.backend}, where its scheduler can be reached."
        raise bad_field("base.backend", detail, [cluster.backend])
    environment = _environment(site, base)
    _check_interpreter(base, backend, site)
    _check_folder(base)
    _check_variables(base, caller)
    preferred = base.size or (cluster.size if cluster else None)
    return BatchDraft(
        key=request.batch,
        submitter=f"{caller.kind}:{caller.subject}",
        kind=kind,
        owner=owner,
        project=project,
        environment=environment,
        backend=backend,
        items=tuple(
            _item(settings, (project, backend), kind, place, item, preferred)
            for place, item in enumerate(request.items)
        ),
        tenant=tenant_of(settings, project, owner),
        parent=cluster.parent if cluster else None,
        cluster=cluster.id if cluster else None,
        options=_options(base),
        secrets=dict(base.secrets),
        strict=request.strict,
    )


def make_cluster_draft(request: ClusterRequest, caller: Caller, settings: Settings) -> ClusterDraft:
    """The cluster a notebook (or a person) asks for; what it leaves open comes from its notebook."""
    if caller.owner is None:
        raise fail(403, "forbidden", "Clusters are made by notebooks and by people, for themselves.")
    notebook = caller.job
    project = _project(settings, caller.owner, request.project or (notebook.project if notebook else None), "project")
    backend = _backend(settings, project, request.backend, "backend", fed_by=notebook.backend if notebook else None)
    size = _size(settings, (project, backend), request.size, "size")
    return ClusterDraft(
        name=request.name,
        owner=caller.owner,
        project=project,
        tenant=tenant_of(settings, project, caller.owner),
        parent=notebook.id if notebook else None,
        size=size,
        backend=backend,
        idle_timeout_s=request.idle_timeout_s,
    )


def make_host_draft(request: HostBase, caller: Caller, cluster: Cluster, site: Site) -> BatchDraft:
    """The job that is to be this cluster's host, on the backend of its workers and of the size that is set there."""
    base, settings = _make_base(request, Kind.SCHEDULER, cluster), site.settings
    environment = _environment(site, base)
    _check_interpreter(base, cluster.backend, site)
    _check_folder(base)
    _check_variables(base, caller)
    given = settings.backends[cluster.backend].scheduler
    return BatchDraft(
        key=request.batch,
        submitter=f"{caller.kind}:{caller.subject}",
        kind=Kind.SCHEDULER,
        owner=cluster.owner,
        project=cluster.project,
        tenant=cluster.tenant,
        environment=environment,
        backend=cluster.backend,
        items=(ItemDraft(cluster.name, SCHEDULER_SIZE, Resources(given.cores_milli, given.memory)),),
        parent=cluster.parent,
        cluster=cluster.id,
        options={**_options(base), "host": dict(request.options)},
        secrets=dict(base.secrets),
    )


def make_first_workers(request: HostBase, cluster: Cluster) -> SubmitRequest | None:
    """The submit that the workers asked for with the host stand for; None without any."""
    if not request.workers:
        return None
    base = _make_base(request, Kind.WORKER, cluster)
    return SubmitRequest(batch=f"{request.batch[:62]}-w", base=base, items=request.workers)


def _make_base(request: HostBase, kind: Kind, cluster: Cluster) -> JobBase:
    return JobBase(
        kind=kind.value,
        environment=request.environment,
        cluster=cluster.id,
        interpreter=request.interpreter,
        folder=request.folder,
        env=request.env,
        secrets=request.secrets,
        expect=request.expect,
    )


def _options(base: JobBase) -> dict[str, Any]:
    """What `spec` reads of a request."""
    return {
        "interpreter": base.interpreter,
        "folder": base.folder,
        "env": dict(base.env),
        "expect": dict(base.expect),
    }


def _kind(base: JobBase, caller: Caller) -> Kind:
    """The hub makes notebooks; everybody else makes workers."""
    allowed = Kind.NOTEBOOK if caller.kind == "hub" else Kind.WORKER
    if base.kind != allowed:
        raise bad_field("base.kind", f"You cannot start a {base.kind} here.", [allowed])
    return allowed


def _owner(base: JobBase, caller: Caller) -> str:
    if caller.kind == "hub":
        if not base.owner or len(base.owner) > SERVER_NAME_LENGTH:
            raise bad_field("base.owner", "The hub names whose notebook it starts.")
        return base.owner
    if base.owner is not None:
        raise bad_field("base.owner", "Only the hub may name an owner: you submit for yourself.")
    if caller.owner is None:
        raise fail(403, "forbidden", "The command line owns no jobs: submit as a person or from a notebook.")
    return caller.owner


def _chosen(field: str, value: str, allowed: list[str], what: str) -> str:
    if value not in allowed:
        raise bad_field(field, f"{value!r} is not {what} you may use.", allowed)
    return value


def _project(settings: Settings, owner: str, asked: str | None, field: str) -> str:
    names = project_names(settings, owner)
    if not names:
        raise fail(403, "no-project", f"{owner} is a member of no project: an administrator adds people to projects.")
    return _chosen(field, asked, names, "a project") if asked else names[0]


def _size(settings: Settings, where: tuple[str, str], asked: str | None, field: str) -> str:
    """`where`: project and backend."""
    project, backend = where
    names = size_names(settings, project, backend)
    size = asked or default_size(settings, project, backend)
    if size is None:
        raise bad_field(field, f"The project {project!r} may use no size that runs on {backend}.", [])
    if size not in names and size in size_names(settings, project, None):
        raise bad_field(field, f"{size!r} {misfit(settings, size, backend)}.", names)
    return _chosen(field, size, names, "a size")


def _backend(settings: Settings, project: str, asked: str | None, field: str, fed_by: str | None = None) -> str:
    """`fed_by`: the backend of the notebook whose workers are to run there."""
    names = backend_names(settings, project, fed_by)
    chosen = asked or next(iter(names), None)
    if chosen is None or (fed_by is not None and chosen in settings.backends and chosen not in names):
        detail = f"A notebook on {fed_by} may not have workers {f'on {chosen}' if chosen else 'anywhere'}"
        raise bad_field(field, f"{detail} for the project {project!r}.", names)
    return _chosen(field, chosen, names, "a backend")


def _environment(site: Site, base: JobBase) -> str:
    asked = base.environment or site.environment or default_environment(site.settings) or ""
    return _chosen("base.environment", asked, list(site.settings.environments), "an environment")


def _item(
    settings: Settings, where: tuple[str, str], kind: Kind, place: int, item: JobItem, preferred: str | None
) -> ItemDraft:
    field = f"items.{place}.name"
    if kind is Kind.WORKER and not WORKER_NAME.fullmatch(item.name):
        raise bad_field(field, "A worker's name is 1 to 128 letters, digits, '.', '_' or '-'.")
    if len(item.name) > SERVER_NAME_LENGTH:
        raise bad_field(field, f"A server's name has at most {SERVER_NAME_LENGTH} characters.")
    name = _size(settings, where, item.size or preferred, f"items.{place}.size" if item.size else "base.size")
    size = settings.sizes[name]
    return ItemDraft(item.name, name, resources_of(size), size.price_per_hour)


def _check_interpreter(base: JobBase, backend: str, site: Site) -> None:
    if base.interpreter is None:
        return
    if not PurePosixPath(base.interpreter).is_absolute():
        raise bad_field("base.interpreter", "The interpreter is an absolute path.")
    on_this_machine = isinstance(site.settings.backends[backend], LocalBackend)
    if on_this_machine and not site.is_executable(base.interpreter):
        raise bad_field("base.interpreter", f"{base.interpreter} is not a program that can be run on {backend}.")


def _check_folder(base: JobBase) -> None:
    if base.folder is not None and not PurePosixPath(base.folder).is_absolute():
        raise bad_field("base.folder", "The folder is an absolute path.")


def _check_variables(base: JobBase, caller: Caller) -> None:
    for name in base.env:
        if not VARIABLE.fullmatch(name):
            raise bad_field(f"base.env.{name}", f"{name!r} cannot be the name of an environment variable.")
        if OURS.fullmatch(name) or (caller.kind != "hub" and HUBS.fullmatch(name)):
            raise bad_field(f"base.env.{name}", f"{name} is set by Sampan and cannot be given.")
    _check_names(base.secrets, "base.secrets")
    _check_names(base.expect, "base.expect")


def _check_names(values: Mapping[str, str], field: str) -> None:
    for name in values:
        if not SECRET_NAME.fullmatch(name):
            raise bad_field(f"{field}.{name}", f"{name!r} is not a name: letters, digits, '_', '.' and '-'.")
