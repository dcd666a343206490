"""Dask's scheduler with nothing listening but one TLS port and, on a private unix socket, the dashboard."""

from __future__ import annotations

import asyncio
import errno
import logging
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from distributed import Scheduler
from distributed.http.routing import RoutingApplication
from distributed.scheduler import WorkerStatusPlugin
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.netutil import bind_unix_socket
from tornado.web import RequestHandler

from sampan.errors import SampanError
from sampan.host.hosted import STATE_PATH
from sampan.network import LOOPBACK, Ports, bracketed, free_ports, listen, render_ports

log = logging.getLogger("sampan.host")

HTTP_ROUTES = ["distributed.http.scheduler.info", "distributed.http.health", "distributed.http.statics"]


class Subscriber(WorkerStatusPlugin):
    """Dask's plugin has one name for all subscribers, so a second one would silence the first."""

    def __init__(self, scheduler: Scheduler, comm: Any) -> None:
        self.name = f"worker-status-{uuid4().hex}"
        super().__init__(scheduler, comm)


class StateHandler(RequestHandler):
    """What a host has now, for the sidebar of a notebook elsewhere."""

    def initialize(self, state: Callable[[], Mapping[str, Any]]) -> None:
        self.state = state

    def get(self) -> None:
        self.finish(dict(self.state()))


class SampanScheduler(Scheduler):
    """The scheduler of one cluster. `dashboard_socket`: where its pages are served, by JupyterLab's extension.

    `ports`: the range it listens in, beside Dask's own `port`, which is one or any.
    """

    def __init__(self, *args: Any, dashboard_socket: Path, ports: Ports | None = None, **kwargs: Any) -> None:
        self.dashboard_socket = dashboard_socket
        self.ports = ports
        self.dashboard_task: asyncio.Task[None] | None = None
        self.more_servers: list[HTTPServer] = []
        super().__init__(*args, dashboard=False, dashboard_address=None, **kwargs)

    async def listen(self, port_or_addr: Any = None, *args: Any, **kwargs: Any) -> None:
        """On the first free port of the range."""
        if self.ports is None:
            await super().listen(port_or_addr, *args, **kwargs)
            return
        where = str(port_or_addr).rpartition(":")[0]
        for port in free_ports(urlsplit(where).hostname or LOOPBACK, self.ports):
            try:
                await super().listen(f"{where}:{port}", *args, **kwargs)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:  # somebody was quicker
                    raise
            else:
                return
        raise SampanError(f"every port {render_ports(self.ports)} is taken: an administrator widens `ports:`")

    def start_http_server(self, routes: Any, *_: Any, **__: Any) -> None:
        """Serve on the unix socket only, 0600 (the host's umask is 077), in a folder that is 0700."""
        self.http_application = RoutingApplication(routes)
        self.http_server = HTTPServer(self._answer)
        self.dashboard_socket.unlink(missing_ok=True)
        self.http_server.address, self.http_server.port = str(self.dashboard_socket), 0  # Dask's pages ask for these
        self.http_server.add_socket(bind_unix_socket(str(self.dashboard_socket), mode=0o600))

    def _answer(self, request: HTTPServerRequest) -> None:
        """Answer a page request; the first one waits for the dashboard, which most clusters of a class never need."""
        if request.path == STATE_PATH or (self.dashboard_task is not None and self.dashboard_task.done()):
            self.http_application(request)
            return
        self.start_dashboard().add_done_callback(lambda _: self.http_application(request))

    def serve_pages(self, host: str, context: ssl.SSLContext, state: Callable[[], Mapping[str, Any]]) -> str:
        """Serve the same, and the host's state, to whoever holds the session's keys, on a port of its own: where."""
        self.http_application.add_handlers(".*", [(STATE_PATH, StateHandler, {"state": state})])
        server = HTTPServer(self._answer, ssl_options=context)
        listener = listen(host, self.ports)
        server.add_socket(listener)
        self.more_servers.append(server)
        return f"tls://{bracketed(host)}:{listener.getsockname()[1]}"

    def start_dashboard(self) -> asyncio.Task[None]:
        """Begin to import and connect the dashboard, once: half a second of CPU and 30 MiB, for whoever looks at it."""
        if self.dashboard_task is None:
            self.dashboard_task = asyncio.get_running_loop().create_task(self._add_dashboard())
        return self.dashboard_task

    async def _add_dashboard(self) -> None:
        def load() -> Any:
            import distributed.dashboard.scheduler as pages

            return pages

        try:
            pages = await asyncio.to_thread(load)
        except ImportError as error:
            log.warning("No dashboard in this environment (%s): install bokeh to have it", error)
            return
        pages.connect(self.http_application, self.http_server, self, prefix="")

    def count_subscribers(self) -> int:
        """How many Cluster objects (the host's own among them) are connected."""
        plugins = [plugin for plugin in self.plugins.values() if isinstance(plugin, Subscriber)]
        return sum(1 for plugin in plugins if not plugin.bcomm.comm.closed())

    def subscribe_worker_status(self, comm: Any) -> dict[str, Any]:
        """As Dask's, with a plugin of its own for every subscriber."""
        Subscriber(self, comm)
        identity: dict[str, Any] = self.identity()
        for worker in identity["workers"].values():
            del worker["metrics"]
            del worker["last_seen"]
        return identity
