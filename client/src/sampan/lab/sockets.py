"""Dashboards of clusters, from their hosts' private unix sockets to whoever is logged in to this server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyter_server_proxy.handlers import ProxyHandler
from tornado.web import HTTPError

from sampan.lab.clusters import cluster_name
from sampan.lab.remote import Remote
from sampan.rundir import NAME, cluster_dir, live_host


async def dashboard_socket(remote: Remote, name: str) -> Path:
    """The socket on which this cluster's pages are served. 404 for a name that no running cluster has."""
    if NAME.match(name):
        there = await remote.socket(name)
        path = there or cluster_dir(remote.session, name) / "dash.sock"
        if there is not None or live_host(path.parent) is not None:
            return path
    raise HTTPError(404, f"No running cluster {name!r} in this notebook session; Cluster.list() shows them")


class DashboardHandler(ProxyHandler):
    """`<base>sampan/<cluster name>/<path>`: HTTP and websockets. ProxyHandler lets nobody in who is not logged in."""

    def initialize(self, remote: Remote) -> None:
        self.remote = remote

    async def point(self, key: str) -> None:
        """Aim at the cluster's socket: on this one request, for the class is shared."""
        self.unix_socket = str(await dashboard_socket(self.remote, key))
        self.proxy_base = f"sampan/{key}"

    async def http_get(self, key: str, path: str) -> Any:
        return await self.forward(key, path)

    async def open(self, key: str, path: str) -> Any:
        await self.point(key)
        return await self.proxy_open("localhost", 80, path)

    async def post(self, key: str, path: str) -> Any:
        return await self.forward(key, path)

    async def forward(self, key: str, path: str) -> Any:
        await self.point(key)
        return await self.proxy("localhost", 80, path)


class SidebarDashboardHandler(DashboardHandler):
    """`<base>dask/dashboard/<cluster id>/<path>`: the same, as dask-labextension's panels ask for it."""

    async def point(self, key: str) -> None:
        name = await cluster_name(self.remote, key)
        self.unix_socket = str(await dashboard_socket(self.remote, name or ""))
        self.proxy_base = f"dask/dashboard/{key}"
