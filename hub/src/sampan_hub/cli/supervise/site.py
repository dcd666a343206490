"""One installation as the command line sees it: its settings, its folders, its addresses and its credentials."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sampan_hub.jobs.keys import make_credential
from sampan_hub.settings.address import Endpoint, bind_endpoint, parse_url
from sampan_hub.settings.effective import effective_settings
from sampan_hub.settings.keyfiles import read_key
from sampan_hub.settings.load import find_settings_file
from sampan_hub.settings.model import Settings
from sampan_hub.settings.paths import StatePaths

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Site:
    settings: Settings
    settings_file: Path | None

    @property
    def paths(self) -> StatePaths:
        return StatePaths(self.settings.state_dir)

    @property
    def endpoint(self) -> Endpoint:
        """What the proxy binds; a name that other machines may resolve otherwise is spelled as an address."""
        endpoint = bind_endpoint(self.settings)
        return Endpoint(LOOPBACK, endpoint.port) if endpoint.host == "localhost" else endpoint

    @property
    def base_path(self) -> str:
        """The path all our pages lie under, with a slash at both ends."""
        return parse_url(self.settings.url)[2]

    @property
    def is_laptop(self) -> bool:
        return self.settings.profile == "laptop"

    @property
    def ports_file(self) -> Path:
        return self.paths.run / "ports.json"

    def read_settings_text(self) -> str:
        """What the settings file says now; empty without one."""
        file = self.settings_file
        return "" if file is None or not file.exists() else file.read_text(errors="replace")

    def hub_headers(self) -> dict[str, str]:
        """What an administrator's request to JupyterHub's API carries."""
        return {"Authorization": f"token {read_key(self.paths.key('cli-token')).decode()}"}

    def service_headers(self) -> dict[str, str]:
        """What an administrator's request to the compute service carries."""
        key = read_key(self.paths.key("service.key"))
        return {"Authorization": f"Bearer {make_credential(key, 'cli', 'admin')}"}


def load_site(config: Path | None, read: Callable[[Path | None], Settings] = effective_settings) -> Site:
    """The installation that the settings file (or its absence) describes; raises SettingsError."""
    return Site(read(config), find_settings_file(config, os.environ, Path.cwd()))
