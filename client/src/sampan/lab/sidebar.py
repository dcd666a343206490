"""The REST interface of dask-labextension's sidebar, answered with Sampan's clusters."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from jupyter_server.base.handlers import APIHandler
from tornado.web import HTTPError, authenticated

from sampan.errors import SampanError
from sampan.lab import clusters
from sampan.lab.remote import Remote


class ClusterHandler(APIHandler):
    """`<base>dask/clusters[/<id>]`: GET lists, PUT starts, PATCH scales or adapts, DELETE stops."""

    def initialize(self, remote: Remote) -> None:
        self.remote = remote

    @property
    def prefix(self) -> str:
        return str(self.settings["base_url"])

    async def model(self, cluster_id: str) -> clusters.Model:
        """The cluster of that id, or 404."""
        model = await clusters.get_model(self.remote, cluster_id, self.prefix)
        if model is None:
            raise HTTPError(404, "This cluster has ended, or was never one of this notebook session")
        return model

    async def name_of(self, cluster_id: str) -> str:
        name = await clusters.cluster_name(self.remote, cluster_id)
        if name is None:
            raise HTTPError(404, "This cluster has ended, or was never one of this notebook session")
        return name

    @authenticated
    async def get(self, cluster_id: str = "") -> None:
        found: Any
        if cluster_id:
            found = await self.model(cluster_id)
        else:
            found = await clusters.list_models(self.remote, self.prefix)
        self.finish(json.dumps(found))

    @authenticated
    async def put(self, cluster_id: str = "") -> None:  # noqa: ARG002  the sidebar never names a new one
        try:
            name = await asyncio.to_thread(clusters.start, self.remote.session)
        except SampanError as error:
            raise HTTPError(409, str(error)) from error
        self.remote.forget()
        self.finish(json.dumps(await self.model(clusters.cluster_id(name))))

    @authenticated
    async def patch(self, cluster_id: str) -> None:
        name = await self.name_of(cluster_id)
        wanted = read_wish(self.request.body)
        request = "sampan_adapt" if "maximum" in wanted else "sampan_scale"
        await clusters.tell(self.remote, name, request, **wanted)
        self.finish(json.dumps(await self.model(cluster_id)))

    @authenticated
    async def delete(self, cluster_id: str) -> None:
        await clusters.tell(self.remote, await self.name_of(cluster_id), "sampan_shutdown")
        self.set_status(204)
        self.finish()


def read_wish(body: bytes) -> dict[str, Any]:
    """What the sidebar's dialog asks for: arguments of `sampan_adapt` or of `sampan_scale`. 400 for anything else."""
    try:
        content = json.loads(body)
        adapt = content.get("adapt")
        if adapt is None:
            numbers = [content["workers"]]
            wish: dict[str, Any] = {"sizes": {"": content["workers"]}}
        else:
            numbers = [adapt["minimum"], adapt["maximum"]]
            wish = {"minimum": adapt["minimum"], "maximum": adapt["maximum"]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HTTPError(400, "Expected workers, or adapt with minimum and maximum") from error
    if not all(type(number) is int and number >= 0 for number in numbers) or numbers != sorted(numbers):
        raise HTTPError(400, f"Expected whole numbers of workers from 0, the smaller first; got {numbers}")
    return wish
