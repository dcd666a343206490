"""Who may claim a job: whoever holds its batch's bootstrap credential, or, where jobs are pods, its pod's own token."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from sampan_hub.jobs.model import Job
from sampan_hub.service.access import allow
from sampan_hub.service.context import Context, context_of
from sampan_hub.service.problems import fail, not_found
from sampan_hub.service.tokens import KeysUnknown, Pod, TokenRefused, looks_like_token


@dataclass(frozen=True, slots=True)
class Claimant:
    """Somebody who showed that this job is theirs to claim."""

    job: Job
    run: str | None
    """The only run they can be: a pod is one run. None: the one they name."""


async def claimant(job_id: str, request: Request) -> Claimant:
    """Whoever asks to claim this job, if they may; raises 401, 404 or (the cluster does not answer) 503."""
    context = context_of(request)
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and looks_like_token(text.strip()):
        return await _pod(context, job_id, text.strip())
    caller = await allow("bootstrap")(request)
    job = await context.find_job(job_id)
    if job is None or job.batch != caller.subject:
        raise not_found("job", job_id)
    return Claimant(job, None)


async def _pod(context: Context, job_id: str, text: str) -> Claimant:
    """The job's very pod. Where it is not, nobody learns whether there is such a job."""
    job = await context.find_job(job_id)
    place = context.places.get(job.backend) if job is not None else None
    tokens = context.pods.get(job.backend) if job is not None else None
    if job is None or place is None or place.pods is None or tokens is None:
        raise fail(401, "not-authenticated", "This credential was not made by this installation.")
    try:
        pod = await tokens.read(text)
    except TokenRefused as error:
        raise fail(401, "not-authenticated", f"This is no token of a pod of this installation: {error}.") from error
    except KeysUnknown as error:
        detail = f"The cluster of {job.backend} cannot be asked whose token this is: {error}. Ask again."
        raise fail(503, "cluster-unreachable", detail, retry_after_s=2) from error
    if pod != Pod(place.pods.namespace, place.pods.name_of(job), pod.uid, place.pods.service_account):
        raise not_found("job", job_id)
    return Claimant(job, pod.uid)
