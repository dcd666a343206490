"""What the three processes are told: command lines, environments and how to see that each is ready."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version as installed_version
from pathlib import Path

from sampan_hub.cli.supervise.ports import Ports
from sampan_hub.cli.supervise.records import hash_orders
from sampan_hub.cli.supervise.site import LOOPBACK, Site
from sampan_hub.settings.crossing import crosses_hosts
from sampan_hub.trust.entry import entry_files
from sampan_hub.trust.front import front_files, jobs_authority_files

IN_CLONE = Path(__file__).resolve().parents[4] / "jupyterhub_config.py"
IN_WHEEL = Path(sys.prefix) / "share" / "sampan" / "jupyterhub_config.py"
BY_JOB = Path(__file__).with_name("by_job.cjs")
"""What makes the proxy ask for the certificate of a route's own job."""
REQUIRE_JOB = f"--require={BY_JOB}"
FOREIGN = ("JUPYTERHUB_", "JPY_", "CONFIGPROXY_", "SAMPAN_")
"""Variables of somebody else's hub (`sampan up` in a notebook's terminal) that ours must not take for its own."""


@dataclass(frozen=True, slots=True)
class Command:
    """One process to keep. `secret_env` is for it alone and never in its command line."""

    name: str
    argv: tuple[str, ...]
    ready_port: int = 0
    """On loopback; 0 for what `sampan up` never keeps."""
    ready_path: str = ""
    secret_env: Mapping[str, str] = field(default_factory=dict, repr=False)
    ready_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    read_once: tuple[Path, ...] = ()
    """Files that it reads at its start only: with others it has to be started anew."""
    replaces: tuple[Path, ...] = ()
    """Sockets that it makes, which one of its name that was killed would have left in the way."""


def make_commands(site: Site, ports: Ports, node: Path, proxy_script: Path, proxy_token: str) -> list[Command]:
    """Proxy, hub and service, in the order in which they are best started."""
    return [
        Command(
            "proxy",
            (str(node), *_node_options(site), str(proxy_script), *_proxy_options(site, ports)),
            ports.proxy_api,
            "/api/routes",
            read_once=_certificates(site),
            secret_env={"CONFIGPROXY_AUTH_TOKEN": proxy_token},
            ready_headers={"Authorization": f"token {proxy_token}"},
        ),
        *make_hub_commands(site, ports),
    ]


def make_hub_commands(site: Site, ports: Ports) -> list[Command]:
    """Hub and service, who talk over loopback wherever they are."""
    base = site.base_path
    return [
        Command(
            "hub",
            (sys.executable, "-P", "-m", "sampan_hub.identity", "-f", str(find_hub_config())),
            ports.hub,
            f"{base}hub/health",
        ),
        Command(
            "service",
            (sys.executable, "-P", "-m", "sampan_hub.service", "--port", str(ports.service)),
            ports.service,
            f"{base}services/sampan/healthz",
        ),
    ]


def find_hub_config() -> Path:
    """JupyterHub's configuration file: the clone's own where the package is used from a clone."""
    return IN_CLONE if IN_CLONE.exists() else IN_WHEEL


def _proxy_options(site: Site, ports: Ports) -> list[str]:
    endpoint = site.endpoint
    options = [
        f"--ip={endpoint.host}",
        f"--port={ports.public}",
        f"--api-ip={LOOPBACK}",
        f"--api-port={ports.proxy_api}",
        f"--error-target=http://{LOOPBACK}:{ports.hub}{site.base_path}hub/error",
    ]
    options += entry_options(site)
    if crosses_hosts(site.settings):
        options += front_options(site.paths.tls, jobs_authority_files(site.paths.tls).certificate)
    return options


def entry_options(site: Site) -> list[str]:
    """How the proxy speaks TLS to people and jobs, where it does."""
    entry = entry_files(site.settings, site.paths)
    return [] if entry is None else [f"--ssl-cert={entry.certificate}", f"--ssl-key={entry.key}"]


def front_options(folder: Path, authorities: Path) -> list[str]:
    """How the proxy connects over TLS: shows the front's certificate, takes only what these authorities signed."""
    front = front_files(folder)
    return [
        f"--client-ssl-cert={front.certificate}",
        f"--client-ssl-key={front.key}",
        f"--client-ssl-ca={authorities}",
        "--client-ssl-reject-unauthorized",
    ]


def _node_options(site: Site) -> list[str]:
    return [REQUIRE_JOB] if crosses_hosts(site.settings) else []


def _certificates(site: Site) -> tuple[Path, ...]:
    """The certificates the proxy shows and asks for; each stands for its key too."""
    entry = entry_files(site.settings, site.paths)
    tls = site.paths.tls
    front = [front_files(tls), jobs_authority_files(tls)] if crosses_hosts(site.settings) else []
    return tuple(pair.certificate for pair in (*([entry] if entry else []), *front))


def make_environment(inherited: Mapping[str, str], site: Site, command: Command) -> dict[str, str]:
    """What the process sees: ours, less what belongs to another hub."""
    own = {key: value for key, value in inherited.items() if not key.startswith(FOREIGN)}
    if site.settings_file is not None:
        own["SAMPAN_CONFIG"] = str(site.settings_file)
    own["PATH"] = f"{Path(sys.executable).parent}:{own.get('PATH', '/usr/local/bin:/usr/bin:/bin')}"
    own["PYTHONUNBUFFERED"] = "1"
    return {**own, **command.secret_env}


def orders_of(command: Command, settings_text: str) -> str:
    """Another value than the one on record means: this process works by other settings or another version."""
    contents = (path.read_text() if path.exists() else "" for path in command.read_once)
    return hash_orders(installed_version("sampan-hub"), settings_text, *command.argv, *contents)
