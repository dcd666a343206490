"""What runs where proxy and hub are apart (`layout`): their names, and what each is told."""

from __future__ import annotations

import ipaddress
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from sampan_hub.cli.supervise.commands import REQUIRE_JOB, Command, entry_options, front_options, make_hub_commands
from sampan_hub.cli.supervise.ports import Ports
from sampan_hub.cli.supervise.site import LOOPBACK, Site
from sampan_hub.settings.layout import Layout
from sampan_hub.trust.entry import has_own_beside, own_entry_files
from sampan_hub.trust.files import Pair
from sampan_hub.trust.front import clients_authority_files
from sampan_hub.trust.internal import (
    HUB,
    PROXY_API,
    SERVICE,
    answering_files,
    answering_url,
    name_holder,
    upstream_bundle,
)

Program = tuple[Path, Path]
"""Node, and the proxy's script that it runs."""
ENTRIES = {"hub-entry": HUB, "service-entry": SERVICE}
"""What only ends TLS for the hub and the service, who listen on loopback beside it: name -> for whom."""
FRONT = ("proxy", *ENTRIES)
"""Those who need no more of the settings than where to listen: theirs may be a file of these keys alone."""
HUB_SIDE = (HUB, SERVICE, *ENTRIES)
"""What runs together on the hub's side. On the other there is the proxy alone."""
BY_NAME = Path(__file__).with_name("by_name.cjs")
"""What makes the proxy show another certificate to jobs than to people."""
KEEP_ALIVE_MS = 3_600_000
"""Of idle connections to an entry: the proxy keeps its own to it, and whoever closes first must be who sends next."""


def make_proxy_command(site: Site, layout: Layout, ports: Ports, program: Program, token: str) -> Command:
    """The proxy on its side: people and jobs on one port, the hub with its certificate on another."""
    api = answering_files(site.paths.tls, PROXY_API)
    options = [
        f"--ip={site.endpoint.host}",
        f"--port={ports.public}",
        f"--api-ip={_bound(layout.proxy_api)}",
        f"--api-port={ports.proxy_api}",
        *_mutual("api-ssl", api, site.paths.tls),
        f"--error-target={name_holder(layout, HUB)}{site.base_path}hub/error",
        *entry_options(site),
        *front_options(site.paths.tls, upstream_bundle(site.paths.tls)),
    ]
    node, script = program
    both = has_own_beside(site.settings)
    required = (REQUIRE_JOB, f"--require={BY_NAME}") if both else (REQUIRE_JOB,)
    environment = {"CONFIGPROXY_AUTH_TOKEN": token}
    if both:
        environment["SAMPAN_OWN_ENTRY"] = str(own_entry_files(site.paths).key.with_suffix(""))
    return Command("proxy", (str(node), *required, str(script), *options), secret_env=environment)


def make_hub_side_commands(site: Site, layout: Layout, ports: Ports, program: Program) -> list[Command]:
    """Hub and service as everywhere, and before each the entry that people with the front's certificate get in by."""
    behind = {HUB: ports.hub, SERVICE: ports.service}
    entries = [
        Command(
            name,
            (*map(str, program), *_entry_options(site, layout, ports, name, behind[holder])),
            secret_env={"CONFIGPROXY_AUTH_TOKEN": secrets.token_hex(32)},  # nobody is to change where it leads
            replaces=(_api_socket(site, name),),
        )
        for name, holder in ENTRIES.items()
    ]
    return [*make_hub_commands(site, ports), *entries]


def port_of(url: str) -> int:
    """Where whoever is found under this URL listens."""
    return int(urlsplit(url).port or 443)


def _entry_options(site: Site, layout: Layout, ports: Ports, name: str, port: int) -> list[str]:
    url = answering_url(layout, ENTRIES[name])
    return [
        f"--ip={_bound(url)}",
        f"--port={port_of(url)}",
        *_mutual("ssl", answering_files(site.paths.tls, ENTRIES[name]), site.paths.tls),
        f"--default-target=http://{LOOPBACK}:{port}",
        f"--error-target=http://{LOOPBACK}:{ports.hub}{site.base_path}hub/error",
        f"--api-socket={_api_socket(site, name)}",
        f"--keep-alive-timeout={KEEP_ALIVE_MS}",
        "--no-x-forward",  # the proxy has said who asks
    ]


def _mutual(prefix: str, own: Pair, folder: Path) -> list[str]:
    """Shows this certificate, and ends the handshake with whoever shows none of the front's."""
    return [
        f"--{prefix}-cert={own.certificate}",
        f"--{prefix}-key={own.key}",
        f"--{prefix}-ca={clients_authority_files(folder).certificate}",
        f"--{prefix}-request-cert",
        f"--{prefix}-reject-unauthorized",
    ]


def _api_socket(site: Site, name: str) -> Path:
    """The proxy's program insists on an interface for changing routes: one that nobody else can open."""
    return site.paths.run / f"{name}.sock"


def _bound(url: str) -> str:
    """What to listen on to be found there: the URL's address, for a name every one (empty)."""
    host = str(urlsplit(url).hostname)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return ""
    return host
