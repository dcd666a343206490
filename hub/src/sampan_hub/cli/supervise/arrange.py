"""Which processes run here and on which ports: settled alike for `sampan up`, which runs all, and `sampan run`."""

from __future__ import annotations

from sampan_hub.cli.supervise.apart import HUB_SIDE, make_hub_side_commands, make_proxy_command, port_of
from sampan_hub.cli.supervise.commands import Command, make_commands
from sampan_hub.cli.supervise.ports import Ports, is_free, read_ports, settle_ports
from sampan_hub.cli.supervise.prepare import CannotStart, find_proxy
from sampan_hub.cli.supervise.processes import is_running
from sampan_hub.cli.supervise.site import Site
from sampan_hub.settings.keyfiles import read_key
from sampan_hub.settings.layout import Layout

NAMES = ("proxy", "hub", "service")


def names_here(site: Site) -> tuple[str, ...]:
    """What is to run where this command line is; apart, the hub's side is the one with a command line."""
    return NAMES if site.settings.layout is None else HUB_SIDE


def arrange(site: Site) -> tuple[Ports, dict[str, Command]]:
    """Ports and commands by name, in the order in which they are best started; raises CannotStart.

    Called inside `prepare.prepared`.
    """
    node, script = find_proxy()
    running = {name for name in NAMES if is_running(site.paths.run, name)}
    _check_public_port(site, "proxy" in running)
    ports = settle_ports(
        site.ports_file, site.endpoint.port, running | ({"proxy_api"} if "proxy" in running else set())
    )
    token = read_key(site.paths.key("proxy-token")).decode()
    return ports, {command.name: command for command in make_commands(site, ports, node, script, token)}


def arrange_apart(site: Site, layout: Layout, name: str) -> Command:
    """What runs under this name where proxy and hub are apart; raises CannotStart.

    Called inside `prepare.prepared` with `filled.ensure_filled`.
    """
    program = find_proxy()
    public, api = site.endpoint.port, port_of(layout.proxy_api)
    if name == "proxy":
        token = read_key(site.paths.key("proxy-token")).decode()
        return make_proxy_command(site, layout, Ports(public, api, hub=0, service=0), program, token)
    running = {each for each in HUB_SIDE if is_running(site.paths.run, each)}
    settled = settle_ports(site.ports_file, public, running)
    commands = make_hub_side_commands(site, layout, settled, program)
    return next(command for command in commands if command.name == name)


def _check_public_port(site: Site, is_ours: bool) -> None:
    endpoint = site.endpoint
    kept = read_ports(site.ports_file)
    if is_ours and kept is not None and kept.public == endpoint.port:
        return
    if not is_free(endpoint.host, endpoint.port):
        raise CannotStart(
            f"Port {endpoint.port} on {endpoint.host} is taken or not allowed: "
            f"end what listens there, or set `url:` in sampan.yaml to another port."
        )
