"""People, through JupyterHub's own API: the hub must be running."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sampan_hub.cli.supervise import links
from sampan_hub.cli.supervise.http import NotAnswering, Reply, call
from sampan_hub.cli.supervise.ports import read_ports
from sampan_hub.cli.supervise.site import Site
from sampan_hub.settings.policy import people_refusal

STOP_PATIENCE_S = 60.0


class PeopleError(Exception):
    """JupyterHub did not do what was asked: what, about whom, what to do next."""


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    is_admin: bool


def open_people(site: Site) -> People:
    """Ready to ask; raises PeopleError when no hub runs here."""
    ports = read_ports(site.ports_file)
    if ports is None:
        raise PeopleError("No hub runs here: start it with `sampan up`.")
    people = People(site, ports.hub)
    people.ask("GET", "info")
    return people


class People:
    def __init__(self, site: Site, hub_port: int) -> None:
        self._site = site
        self._hub_port = hub_port
        self._headers = site.hub_headers()

    def ask(self, method: str, path: str, body: object = None, accept: tuple[int, ...] = ()) -> Reply:
        """One request to `hub/api/`; raises PeopleError unless it went well or has an accepted status."""
        try:
            reply = call(method, self._hub_port, f"{self._site.base_path}hub/api/{path}", self._headers, body, 30)
        except NotAnswering as error:
            raise PeopleError("No hub runs here: start it with `sampan up`.") from error
        if not reply.is_ok and reply.status not in accept:
            raise PeopleError(f"The hub refused {method} {path}: {reply.message}")
        return reply

    def everybody(self) -> list[Person]:
        return [Person(user["name"], user["admin"]) for user in self._all()]

    def _all(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            page = self.ask("GET", f"users?offset={len(found)}&limit=200").body
            found += page
            if len(page) < 200:
                return found

    def require(self, name: str) -> None:
        """Raises PeopleError unless JupyterHub knows the person."""
        if self.ask("GET", f"users/{quote(name, safe='')}", accept=(404,)).status == 404:
            raise PeopleError(f"Nobody here is called {name!r}: `sampan user add {name}` makes that person.")

    def add(self, names: list[str]) -> list[str]:
        """All of them exist; those that did not before. Refused as a whole where this installation must not share."""
        known = {person.name for person in self.everybody()}
        new = [name for name in names if name not in known]
        refused = people_refusal(self._site.settings, len(known | set(names)))
        if refused is not None:
            raise PeopleError(str(refused))
        if new:
            self.ask("POST", "users", {"usernames": new})
        return new

    def remove(self, name: str) -> None:
        """The person is gone from the hub, with links and tokens; running notebooks are stopped first."""
        self.require(name)
        self.revoke(name)
        path = f"users/{quote(name, safe='')}"
        self.ask("DELETE", f"{path}/server", accept=(400, 404))
        deadline_s = time.monotonic() + STOP_PATIENCE_S
        while self.ask("DELETE", path, accept=(400, 409)).status in (400, 409):
            if time.monotonic() > deadline_s:
                raise PeopleError(f"{name} has a notebook that does not stop: try `sampan user remove {name}` again.")
            time.sleep(0.5)

    def revoke(self, name: str) -> int:
        return links.revoke_links(self._site, name)

    def make_token(self, name: str, note: str) -> str:
        """A new API token of that person, which JupyterHub shows this once."""
        return str(self.ask("POST", f"users/{quote(name, safe='')}/tokens", {"note": note}).body["token"])
