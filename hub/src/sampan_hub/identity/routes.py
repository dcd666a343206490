"""Routes over TLS name who is to answer there, whose certificate the proxy then asks for (`by_job.cjs`): the job of a
notebook on another machine, and hub and service where the proxy is apart.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any

import traitlets
from jupyterhub.proxy import ConfigurableHTTPProxy

from sampan_hub.identity.returning import keep_routed

BEGINNING = "https://"
ACTIVITY_S = 300.0
"""How often JupyterHub hears from the proxy who was active: a query of its database for every route, each time."""


class JobProxy(ConfigurableHTTPProxy):
    """JupyterHub's own, for which the same routes have targets without a name."""

    elsewhere = traitlets.Dict(help="Targets as JupyterHub knows them -> as the proxy reaches the same.").tag(
        config=True
    )
    connect = traitlets.Any(help="How to reach a proxy that is apart, which is noticed then when it begins anew.").tag(
        config=True
    )
    _activity_told_at_s = float("-inf")
    _kept_routed: asyncio.Task[None] | None = None

    async def get_all_routes(self) -> dict[str, Any]:
        """All of them, for JupyterHub to compare with its own every few seconds; with last activities now and then."""
        routes: dict[str, Any] = await super().get_all_routes()
        if time.monotonic() - self._activity_told_at_s < ACTIVITY_S:
            for route in routes.values():
                route["data"].pop("last_activity", None)
        else:
            self._activity_told_at_s = time.monotonic()
        return routes

    async def check_routes(self, user_dict: Any, service_dict: Any, routes: Any = None) -> None:
        """Compares all of them, and from the first time on also whenever a proxy that is apart begins anew."""
        await super().check_routes(user_dict, service_dict, routes)
        if self.connect is not None and self._kept_routed is None:
            restore = partial(super().check_routes, user_dict, service_dict)
            self._kept_routed = asyncio.create_task(keep_routed(self.connect, restore))

    async def add_route(self, routespec: str, target: str, data: dict[str, Any]) -> None:
        target = self.elsewhere.get(target, target)
        if target.startswith(BEGINNING) and "user" in (data or {}):  # finding the job is a query
            target = name_job(target, self._job_of(data or {}))
        await super().add_route(routespec, target, data)

    def _reformat_routespec(self, routespec: str, chp_data: dict[str, Any]) -> dict[str, Any]:
        """A target that names another job than the server's stays as it is: JupyterHub then puts it right."""
        route: dict[str, Any] = super()._reformat_routespec(routespec, chp_data)
        here = {there: target for target, there in self.elsewhere.items()}
        route["target"] = here.get(route["target"], route["target"])
        if route["target"].startswith(BEGINNING):
            route["target"] = unname_job(route["target"], self._job_of(route["data"]))
        return route

    def _job_of(self, data: dict[str, Any]) -> str | None:
        """The job behind a server's route; None for other routes, and for a server that is gone."""
        if "user" not in data or data["user"] not in self.app.users:
            return None
        spawner = self.app.users[data["user"]].spawners.get(data.get("server_name", ""))
        job: str | None = getattr(spawner, "job_id", None)
        return job


def name_job(target: str, job: str | None) -> str:
    """The target with the job's name, if it is reached over TLS."""
    if job is None or not target.startswith(BEGINNING):
        return target
    return f"{BEGINNING}{job}@{target.removeprefix(BEGINNING)}"


def unname_job(target: str, job: str | None) -> str:
    """The inverse of `name_job` for this job; a target that names another stays."""
    own = f"{BEGINNING}{job}@"
    return BEGINNING + target.removeprefix(own) if job is not None and target.startswith(own) else target
