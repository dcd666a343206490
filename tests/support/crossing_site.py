"""A whole site whose jobs come in over TLS and listen on an address that others could reach, or run beside it."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path

import psutil

from sampan_hub.cli.supervise.commands import make_commands
from sampan_hub.cli.supervise.ports import Ports
from sampan_hub.cli.supervise.prepare import ensure_state
from sampan_hub.cli.supervise.site import Site as Installed
from sampan_hub.settings.effective import effective_settings
from tests.support.installation import free_port
from tests.system.hub_fixtures import PROXY_SCRIPT, ROOT, Site, find_node

PORTS = 40


def outer_address() -> str:
    """An address of this machine that is not loopback; without one nothing here can be tested."""
    addresses = [
        address.address
        for each in psutil.net_if_addrs().values()
        for address in each
        if address.family.name == "AF_INET" and not address.address.startswith("127.")
    ]
    assert addresses, "this machine has no address but loopback: give it one, for example on a dummy interface"
    return addresses[0]


class CrossingSite(Site):
    """People come in by the name `localhost`, with a certificate of Sampan's own; the proxy runs as `sampan up`'s."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, scheme="https")
        self.address = outer_address()
        self.first_port = free_port()
        self.url = f"https://localhost:{self.ports['public']}"
        settings = folder / "sampan.yaml"
        settings.write_text(self._render_settings())
        installed = Installed(effective_settings(settings), settings)
        ensure_state(installed)
        self._proxy = make_commands(installed, Ports(**self.ports), Path(find_node()), PROXY_SCRIPT, "")[0]
        self.ca = self.paths.tls / "ca.crt"
        self.trust = ssl.create_default_context(cafile=str(self.ca))

    @property
    def job_ports(self) -> range:
        return range(self.first_port, min(self.first_port + PORTS, 65536))

    def _render_settings(self) -> str:
        places = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "IPYTHONDIR": "ipython"}
        variables = ", ".join(f"{name}: {self.folder / place}" for name, place in places.items())
        return f"""
url: {self.url}/
listen: 127.0.0.1:{self.ports["public"]}
state_dir: .sampan
tls: own
backends:
  far:
    kind: slurm
    submit_as: one
    network: {self.address}/32
    ports: {{first: {self.job_ports.start}, last: {self.job_ports.stop - 1}}}
    workers_on: [far, beside]
  beside: {{kind: local, cores: 4, memory: 8G, workers_on: [beside, far]}}
environments: {{default: {{prefix: {ROOT / ".venv/user"}, variables: {{{variables}}}}}}}
"""

    def _argv(self, name: str) -> list[str]:
        if name == "proxy":
            return list(self._proxy.argv)
        if name == "service":
            port, config = str(self.ports["service"]), str(self.folder / "sampan.yaml")
            return [sys.executable, "-m", "tests.support.crossing_service", port, config]
        return super()._argv(name)

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), "PYTHONPATH": str(ROOT)}
