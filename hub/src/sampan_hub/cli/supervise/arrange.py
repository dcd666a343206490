"""Which processes run here and on which ports: settled alike for `sampan up`, which runs all, and `sampan run`."""

from __future__ import annotations

from sampan_hub.cli.supervise.commands import Command, make_commands
from sampan_hub.cli.supervise.ports import Ports, is_free, read_ports, settle_ports
from sampan_hub.cli.supervise.prepare import CannotStart, find_proxy
from sampan_hub.cli.supervise.processes import is_running
from sampan_hub.cli.supervise.site import Site
from sampan_hub.settings.keyfiles import read_key

NAMES = ("proxy", "hub", "service")


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
