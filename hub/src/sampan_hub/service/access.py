"""Which kinds of caller a route takes: `Depends(allow(...))` on every route, or nobody gets in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request

from sampan_hub.jobs.model import Cluster, Job
from sampan_hub.service.auth import Caller, CallerKind
from sampan_hub.service.context import Context, context_of
from sampan_hub.service.policy import sees_cluster, sees_job
from sampan_hub.service.problems import fail, not_found

Ctx = Annotated[Context, Depends(context_of)]


def allow(*kinds: CallerKind) -> Callable[[Request], Awaitable[Caller]]:
    """The caller, if of one of these kinds (an administrator with a JupyterHub token counts as `admin` too)."""

    async def checked(request: Request) -> Caller:
        caller = await context_of(request).authenticator.caller(request.headers.get("authorization"))
        if caller.kind in kinds or (caller.admin and "admin" in kinds):
            return caller
        speaks = "a person" if caller.kind == "user" else f"a {caller.kind} credential"
        raise fail(403, "forbidden", f"This may not be asked by {speaks}.")

    return checked


Asker = Annotated[Caller, Depends(allow("hub", "admin", "user", "notebook", "scheduler"))]
"""Whoever may look at and manage work."""
Admin = Annotated[Caller, Depends(allow("admin"))]


async def visible_job(context: Context, caller: Caller, job_id: str) -> Job:
    """The job, or the 404 that unknown and foreign ids share."""
    job = await context.find_job(job_id)
    if job is None or not sees_job(caller, job):
        raise not_found("job", job_id)
    return job


async def visible_cluster(context: Context, caller: Caller, cluster_id: str) -> Cluster:
    """The cluster, or the 404 that unknown and foreign ids share."""
    cluster = await context.find_cluster(cluster_id)
    if cluster is None or not sees_cluster(caller, cluster):
        raise not_found("cluster", cluster_id)
    return cluster
