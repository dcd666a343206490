"""What a kernel asks of a host, as it travels in `start.json`, and the requests that follow from it. Pure."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

DEFAULT_SIZE = ""
"""Stands for 'the size the service gives when none is named' wherever sizes are counted."""


@dataclass(frozen=True, slots=True)
class Options:
    """One cluster as its kernel wants it. `workers` counts by size; `adapt` is (minimum, maximum), None: no maximum."""

    name: str
    workers: dict[str, int]
    adapt: tuple[int, int | None] | None
    size: str
    project: str | None
    backend: str | None
    environment: str | None
    interpreter: str | None
    folder: str
    idle_timeout_s: float
    versions: dict[str, str]
    env: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def read_options(content: Mapping[str, Any]) -> Options:
    """The inverse of `Options.as_json`."""
    fields = dict(content)
    if fields.get("adapt") is not None:
        minimum, maximum = fields["adapt"]
        fields["adapt"] = (minimum, maximum)
    return Options(**fields)


def make_cluster_request(options: Options) -> dict[str, Any]:
    """POST /clusters."""
    return {
        "name": options.name,
        "project": options.project,
        "size": options.size or None,
        "backend": options.backend,
        "idle_timeout_s": round(options.idle_timeout_s),
    }


def make_hosted_request(options: Options, worker_secrets: Mapping[str, str]) -> dict[str, Any]:
    """POST /clusters with what its host and first workers need, for where the host is a job."""
    host = {
        "batch": f"h-{secrets.token_hex(12)}",
        "environment": options.environment,
        "interpreter": options.interpreter,
        "folder": options.folder,
        "env": dict(options.env),
        "secrets": dict(worker_secrets),
        "expect": dict(options.versions),
        "options": options.as_json(),
        "workers": make_items(first_workers(options)),
    }
    return {**make_cluster_request(options), "host": host}


def first_workers(options: Options) -> list[tuple[str, str]]:
    """(name, size) of those that are wanted from the start."""
    sizes = [size for size, count in options.workers.items() for _ in range(count)]
    return [(worker_name(options.name, number), size) for number, size in enumerate(sizes)]


def make_offers_query(options: Options) -> dict[str, Any]:
    """GET /offers: of the cluster's own project and backend; what is open is the notebook's."""
    return {"project": options.project, "backend": options.backend}


def make_base(options: Options, cluster_id: str, worker_secrets: Mapping[str, str]) -> dict[str, Any]:
    """What all workers of the cluster share: JobBase."""
    return {
        "kind": "worker",
        "size": options.size or None,
        "project": options.project,
        "environment": options.environment,
        "backend": options.backend,
        "cluster": cluster_id,
        "interpreter": options.interpreter,
        "folder": options.folder,
        "env": dict(options.env),
        "secrets": dict(worker_secrets),
        "expect": dict(options.versions),
    }


def make_submit_request(base: Mapping[str, Any], workers: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """POST /jobs for (name, size) pairs, with a key of its own: the same request may be sent again and again."""
    return {"batch": f"w-{secrets.token_hex(12)}", "base": dict(base), "items": make_items(workers), "strict": False}


def make_items(workers: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Each worker's own part of a submit."""
    return [{"name": name, "size": size or None} for name, size in workers]


def worker_name(cluster: str, number: int) -> str:
    """A worker's Dask name, which is its job's name; numbers are never used twice in a cluster."""
    return f"{cluster}-{number}"
