"""The clusters of this notebook session as JupyterLab's sidebar sees and changes them.

What is shown comes from the hosts' files (no connection, no Dask); what is done goes to the hosts themselves.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from sampan._api import Session
from sampan.rundir import live_hosts, read_json
from sampan.security import ensure_keys

Model = dict[str, Any]


def cluster_id(name: str) -> str:
    """The id under which the sidebar knows a cluster; its URLs take nothing but five words joined by dashes."""
    return str(uuid5(NAMESPACE_URL, f"sampan:{name}"))


def cluster_name(session: Session, identifier: str) -> str | None:
    """The running cluster with this id; None when there is none."""
    return next((folder.name for folder, _ in live_hosts(session) if cluster_id(folder.name) == identifier), None)


def list_models(session: Session, prefix: str) -> list[Model]:
    """All running clusters of the session, oldest first."""
    return [make_model(folder, host, prefix) for folder, host in live_hosts(session)]


def get_model(session: Session, identifier: str, prefix: str) -> Model | None:
    """One running cluster."""
    return next((model for model in list_models(session, prefix) if model["id"] == identifier), None)


def make_model(folder: Path, host: Mapping[str, Any], prefix: str) -> Model:
    """A cluster as dask-labextension's sidebar expects it, from its host's files."""
    state = read_json(folder / "state.json") or {}
    model: Model = {
        "id": cluster_id(folder.name),
        "name": folder.name if state.get("status") != "stopping" else f"{folder.name} (stopping)",
        "scheduler_address": host["scheduler"],
        "dashboard_link": f"{prefix.rstrip('/')}/sampan/{folder.name}/status",
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
    launch = importlib.import_module("sampan.host.launch")
    options = request.make_options(
        None, None, name=None, adapt=True, project=None, backend=None, env=None, idle_timeout="20m"
    )
    launch.start_host(session, options)
    return str(options.name)


async def tell(session: Session, name: str, request: str, **arguments: Any) -> None:
    """Send one of its requests (`sampan_scale` …) to the cluster's host, over its own TLS port."""
    folder_host = next((host for folder, host in live_hosts(session) if folder.name == name), None)
    if folder_host is None:
        return
    core = await asyncio.to_thread(importlib.import_module, "distributed.core")
    security = importlib.import_module("sampan.security").make_security(ensure_keys(session.job_dir))
    async with core.rpc(folder_host["scheduler"], connection_args=security.get_connection_args("client")) as host:
        await getattr(host, request)(**arguments)
