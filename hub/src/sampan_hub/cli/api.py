"""The compute service's API for commands on the server's own machine, as its administrator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from sampan_hub.cli.supervise.http import NotAnswering, call
from sampan_hub.cli.supervise.ports import read_ports
from sampan_hub.cli.supervise.site import Site, load_site
from sampan_hub.settings.keyfiles import KeyFileError

API_PATH = "services/sampan/api/v1/"


class ApiError(click.ClickException):
    """The service did not do what was asked: what, why, and what to do next. Exit code 1."""


@dataclass(frozen=True, slots=True)
class Api:
    """One installation's service. Every method raises ApiError with a sentence for people."""

    site: Site

    def get(self, path: str) -> Any:
        """The decoded answer to GET `path` (below `/api/v1/`)."""
        return self._ask("GET", path, None)

    def put(self, path: str, body: Any) -> Any:
        """The decoded answer to PUT `path`."""
        return self._ask("PUT", path, body)

    def _ask(self, method: str, path: str, body: Any) -> Any:
        ports = read_ports(self.site.ports_file)
        if ports is None:
            raise ApiError(f"Nothing was ever started in {self.site.paths.root}: run `sampan up`, or name --config.")
        try:
            headers = self.site.service_headers()
            reply = call(method, ports.service, self.site.base_path + API_PATH + path, headers, body)
        except KeyFileError as error:
            raise ApiError(str(error)) from error
        except NotAnswering as error:
            raise ApiError(f"The service does not answer ({error}): run `sampan up`, then `sampan check`.") from error
        if not reply.is_ok:
            raise ApiError(f"The service refused {method} {path}: {reply.message}")
        return reply.body


def open_api(config_path: Path | None) -> Api:
    """The API of the installation that the settings describe; raises SettingsError."""
    return Api(load_site(config_path))
