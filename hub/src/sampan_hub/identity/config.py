"""JupyterHub's configuration, out of ours. `hub/jupyterhub_config.py` calls `load_and_apply`, nothing else does."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from asyncio import StreamReader, StreamWriter
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol
from urllib.parse import urlsplit

from traitlets.config import Config

from sampan_hub import look
from sampan_hub.identity.compute import ComputeClient
from sampan_hub.identity.feed import Feed
from sampan_hub.identity.form import TEMPLATES
from sampan_hub.identity.logins import apply_login
from sampan_hub.identity.logs import log_request_without_query
from sampan_hub.identity.routes import JobProxy
from sampan_hub.identity.spawner import JobSpawner
from sampan_hub.jobs.keys import make_credential
from sampan_hub.settings.address import bind_endpoint, parse_url, public_url
from sampan_hub.settings.crossing import crosses_hosts
from sampan_hub.settings.effective import effective_settings
from sampan_hub.settings.keyfiles import read_key
from sampan_hub.settings.layout import Layout
from sampan_hub.settings.model import Settings
from sampan_hub.settings.paths import StatePaths
from sampan_hub.trust.entry import entry_files
from sampan_hub.trust.front import open_front
from sampan_hub.trust.internal import HUB, SERVICE, make_internal_context, name_holder

CONNECT_LIMIT_S = 5.0
NEVER_S = 10 * 365 * 86400
"""For JupyterHub's own timeouts: the service decides when a start has failed."""
ROUTE_CHECK_S = {"laptop": 2, "site": 10}
"""A proxy restarted by somebody else than `sampan up` (which says so) gets its routes back in this time. Each check
reads every route and user: a site of many has it less often."""
CLI_SCOPES = (
    "admin:users",
    "admin:servers",
    "tokens",
    "servers",
    "access:servers",
    "access:services",
    "proxy",
    "read:hub",
)
SERVICE_ACCESS = "access:services!service=sampan"


class PortsLike(Protocol):
    """The internal ports, all on 127.0.0.1, and the public one."""

    @property
    def public(self) -> int: ...
    @property
    def proxy_api(self) -> int: ...
    @property
    def hub(self) -> int: ...
    @property
    def service(self) -> int: ...


class _Ports:
    def __init__(self, *, public: int, proxy_api: int, hub: int, service: int) -> None:
        self.public, self.proxy_api, self.hub, self.service = public, proxy_api, hub, service


def load_and_apply(c: Config) -> None:
    """Everything from the settings file, the state folder and the ports that `sampan up` chose."""
    settings = effective_settings()
    paths = StatePaths(settings.state_dir)
    ports = _Ports(**json.loads((paths.run / "ports.json").read_text()))
    apply(c, settings, paths, ports)


def apply(c: Config, settings: Settings, paths: StatePaths, ports: PortsLike) -> None:
    """Set all that JupyterHub must know; raises SettingsError or KeyFileError."""
    _apply_addresses(c, settings, paths, ports)
    _apply_storage(c, settings, paths)
    _apply_service(c, paths, ports)
    _apply_servers(c, settings, paths, ports)
    _apply_pages(c, settings)
    apply_login(c, settings, paths)


def _apply_addresses(c: Config, settings: Settings, paths: StatePaths, ports: PortsLike) -> None:
    scheme, _, path = parse_url(settings.url)
    host = bind_endpoint(settings).host
    shown = f"[{host}]" if ":" in host else host
    c.JupyterHub.bind_url = f"{'https' if settings.tls else 'http'}://{shown}:{ports.public}{path}"
    c.JupyterHub.public_url = public_url(settings)
    c.JupyterHub.hub_bind_url = c.JupyterHub.hub_connect_url = f"http://127.0.0.1:{ports.hub}"
    entry = entry_files(settings, paths)
    if entry is not None:
        c.JupyterHub.ssl_cert, c.JupyterHub.ssl_key = str(entry.certificate), str(entry.key)
    c.JupyterHub.trusted_downstream_ips = list(settings.behind_proxy)
    c.JupyterHub.proxy_class = JobProxy
    c.ConfigurableHTTPProxy.should_start = False
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{ports.proxy_api}"
    if settings.layout is not None:
        _apply_layout(c, settings.layout, paths, ports)
    c.ConfigurableHTTPProxy.auth_token = read_key(paths.key("proxy-token")).decode()
    c.JupyterHub.last_activity_interval = ROUTE_CHECK_S[settings.profile]
    secure = {"cookie_options": {"secure": True}} if scheme == "https" else {}
    c.JupyterHub.tornado_settings = {"log_function": log_request_without_query, **secure}


def _apply_layout(c: Config, layout: Layout, paths: StatePaths, ports: PortsLike) -> None:
    """The proxy is elsewhere: how to talk to it, and what it calls hub and service."""
    c.ConfigurableHTTPProxy.api_url = layout.proxy_api
    c.JupyterHubHTTPClient.connector_options = {"ssl": make_internal_context(paths.tls)}
    c.JobProxy.connect = partial(_connect_to_proxy, layout, make_internal_context(paths.tls))
    c.JobProxy.elsewhere = {
        f"http://127.0.0.1:{ports.hub}": name_holder(layout, HUB),
        f"http://127.0.0.1:{ports.service}": name_holder(layout, SERVICE),
    }


async def _connect_to_proxy(layout: Layout, context: ssl.SSLContext) -> tuple[StreamReader, StreamWriter]:
    place = urlsplit(layout.proxy_api)
    async with asyncio.timeout(CONNECT_LIMIT_S):
        return await asyncio.open_connection(place.hostname, place.port, ssl=context)


def _apply_storage(c: Config, settings: Settings, paths: StatePaths) -> None:
    c.JupyterHub.db_url = settings.hub_database or f"sqlite:///{paths.hub_sqlite}"
    c.JupyterHub.upgrade_db = True
    c.JupyterHub.cookie_secret = bytes.fromhex(read_key(paths.key("hub-cookie")).decode())
    c.JupyterHub.cleanup_servers = False
    c.JupyterHub.cleanup_proxy = False


def _apply_service(c: Config, paths: StatePaths, ports: PortsLike) -> None:
    c.JupyterHub.services = [
        {
            "name": "sampan",
            "url": f"http://127.0.0.1:{ports.service}",
            "api_token": read_key(paths.key("service-token")).decode(),
            "oauth_no_confirm": True,
            # its pages show administrators more; who is one, this scope tells, which allows nothing by itself
            "oauth_client_allowed_scopes": ["admin-ui"],
            "timeout": 1,  # how long the hub keeps people waiting for a service that is away; by default half a minute
        },
        {"name": "sampan-cli", "api_token": read_key(paths.key("cli-token")).decode(), "display": False},
    ]
    c.JupyterHub.load_roles = [{"name": "sampan-cli", "services": ["sampan-cli"], "scopes": list(CLI_SCOPES)}]
    c.JupyterHub.extra_user_scopes = {SERVICE_ACCESS}
    c.JupyterHub.admin_access = False


def _apply_servers(c: Config, settings: Settings, paths: StatePaths, ports: PortsLike) -> None:
    c.JupyterHub.spawner_class = JobSpawner
    c.JupyterHub.allow_named_servers = True
    c.JupyterHub.init_spawners_timeout = 1
    c.JupyterHub.concurrent_spawn_limit = 0
    c.JupyterHub.active_server_limit = 0
    c.JobSpawner.settings = settings
    if crosses_hosts(settings):
        c.JobSpawner.make_tls_context = partial(_make_tls_context, paths)
    c.JobSpawner.make_feed = partial(_make_feed, _service_url(settings, ports), paths)
    c.Spawner.start_timeout = NEVER_S
    c.Spawner.http_timeout = NEVER_S
    c.Spawner.poll_interval = 10  # reads the feed's cache; only for an end that came while a start was being finished
    c.Spawner.consecutive_failure_limit = 0  # refusals are no reason for the hub to end itself
    c.Spawner.env_keep = []
    c.Spawner.default_url = "/lab"
    c.Spawner.server_token_scopes = ["users:activity!user", "access:servers!server"]


def _apply_pages(c: Config, settings: Settings) -> None:
    c.JupyterHub.template_paths = [str(TEMPLATES), str(look.TEMPLATES)]
    c.JupyterHub.template_vars = {"sampan_isolation_none": settings.isolation == "none"}


def _service_url(settings: Settings, ports: PortsLike) -> str:
    return f"http://127.0.0.1:{ports.service}{parse_url(settings.url)[2]}services/sampan"


def _make_tls_context(paths: StatePaths) -> ssl.SSLContext:
    """How the hub looks at notebooks on other machines."""
    return open_front(paths.tls, datetime.now(UTC)).make_context()


def _make_feed(service_url: str, paths: StatePaths, log: Any) -> Feed:
    """The one feed of this hub process."""
    credential = make_credential(read_key(paths.key("service.key")), "hub", "hub")
    return Feed(ComputeClient(service_url, credential), log if log is not None else logging.getLogger(__name__))
