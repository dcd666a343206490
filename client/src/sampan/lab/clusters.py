"""The clusters of this notebook session as JupyterLab's sidebar sees and changes them.

What is shown comes from the hosts' files, or by HTTPS from hosts that are jobs (no Dask); what is done goes to the
hosts themselves.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from sampan._api import Session
from sampan.lab.remote import Remote
from sampan.rundir import live_hosts, read_json
from sampan.security import ensure_keys

Model = dict[str, Any]


def cluster_id(name: str) -> str:
    """The id under which the sidebar knows a cluster; its URLs take nothing but five words joined by dashes."""
    return str(uuid5(NAMESPACE_URL, f"sampan:{name}"))


async def list_addresses(remote: Remote) -> dict[str, str]:
    """Name -> scheduler of all running clusters of the session."""
    beside = {folder.name: str(host["scheduler"]) for folder, host in live_hosts(remote.session)}
    return beside | {hosted.name: hosted.scheduler or "" for hosted in await remote.running()}


async def cluster_name(remote: Remote, identifier: str) -> str | None:
    """The running cluster with this id; None when there is none."""
    return next((name for name in await list_addresses(remote) if cluster_id(name) == identifier), None)


async def list_models(remote: Remote, prefix: str) -> list[Model]:
    """All running clusters of the session, oldest first."""
    beside = [
        make_model(folder.name, host["scheduler"], read_json(folder / "state.json") or {}, prefix)
        for folder, host in live_hosts(remote.session)
    ]
    jobs = await remote.running()
    states = await asyncio.gather(*map(remote.state, jobs))
    return beside + [
        make_model(hosted.name, hosted.scheduler or "", state, prefix)
        for hosted, state in zip(jobs, states, strict=True)
    ]


async def get_model(remote: Remote, identifier: str, prefix: str) -> Model | None:
    """One running cluster."""
    return next((model for model in await list_models(remote, prefix) if model["id"] == identifier), None)


def make_model(name: str, scheduler: str, state: Mapping[str, Any], prefix: str) -> Model:
    """A cluster as dask-labextension's sidebar expects it, from what its host says of itself."""
    model: Model = {
        "id": cluster_id(name),
        "name": name if state.get("status") != "stopping" else f"{name} (stopping)",
        "scheduler_address": scheduler,
        "dashboard_link": f"{prefix.rstrip('/')}/sampan/{name}/status",
        "workers": state.get("workers", 0),
        "cores": state.get("cores", 0),
        "memory": format_memory(state.get("memory_bytes", 0)),
    }
    if (adapt := state.get("adapt")) is not None:
        model["adapt"] = {"minimum": adapt[0], "maximum": adapt[1]}
    return model


def format_memory(memory_bytes: int) -> str:
    """As people read it, with two decimals: `2.00 GiB`."""
    value, unit = float(memory_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.2f} {unit}"


def start(session: Session) -> str:
    """Start a cluster with Sampan's defaults, as `Cluster()` does (it adapts to the work); its name. Blocking."""
    request = importlib.import_module("sampan.request")
    beginning = importlib.import_module("sampan.host.begin")
    options = request.make_options(
        None, None, name=None, adapt=True, project=None, backend=None, env=None, idle_timeout="20m"
    )
    beginning.begin(session, options)
    return str(options.name)


async def tell(remote: Remote, name: str, request: str, **arguments: Any) -> None:
    """Send one of its requests (`sampan_scale` …) to the cluster's host, over its own TLS port."""
    scheduler = (await list_addresses(remote)).get(name)
    if scheduler is None:
        return
    remote.forget()
    core = await asyncio.to_thread(importlib.import_module, "distributed.core")
    security = importlib.import_module("sampan.security").make_security(ensure_keys(remote.session.job_dir))
    async with core.rpc(scheduler, connection_args=security.get_connection_args("client")) as host:
        await getattr(host, request)(**arguments)
