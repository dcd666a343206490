"""Asking the service for a notebook and for the end of one, through its restarts."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from sampan_hub.identity.compute import RefusedByService, ServiceError, Unreachable
from sampan_hub.identity.feed import Feed
from sampan_hub.identity.notebooks import Notebook, find_open
from sampan_hub.identity.refusals import SpawnRefused
from sampan_hub.jobs.keys import make_batch_id

PATIENCE_S = 10.0
"""How long a start waits for a service that is just being restarted, before it refuses."""
RETRY_S = 0.5
ASK_AGAIN_S = 2.0


def batch_of(key: str) -> str:
    """The public id under which the service shows what the hub asked for with this idempotency key."""
    return make_batch_id("hub:hub", key)


async def submit_patiently(feed: Feed, request: dict[str, Any]) -> Notebook:
    """The job; the same request again while the service is away, because its key makes that safe.

    Raises RefusedByService with the service's reason, or SpawnRefused when it stays away: then nothing is left behind,
    and should the request have arrived after all, what it made is stopped.
    """
    deadline: float | None = None  # from the first failure on: a crowd that takes its turns is no failure
    maybe_arrived = False
    while True:
        try:
            return await feed.compute.submit(request)
        except Unreachable as error:
            maybe_arrived |= error.maybe_arrived
            now = asyncio.get_running_loop().time()
            deadline = deadline or now + PATIENCE_S
            if now > deadline:
                if maybe_arrived:
                    feed.abandon(batch_of(request["batch"]))
                text = "The compute service does not answer, so no server was started. Try again in a minute."
                raise SpawnRefused(text, code="service-away", status=503) from error
            await asyncio.sleep(RETRY_S)


async def end_previous(feed: Feed, owner: str, name: str, log: logging.Logger) -> None:
    """End the open server of this name that this hub did not start: nobody holds a token that it would take."""
    listing = await feed.compute.notebooks()
    previous = find_open(listing.notebooks, owner, name)
    while previous is not None and not (previous.has_ended or previous.lost):
        log.warning("Stopping job %s, an earlier server %r of %s", previous.id, name, owner)
        await ask_to_stop(feed, previous.id, "another server of this name starts", log)
        await feed.change(ASK_AGAIN_S)
        previous = await _look_again(feed, previous, log)


async def _look_again(feed: Feed, notebook: Notebook, log: logging.Logger) -> Notebook | None:
    """How it stands now; as before while the service does not say."""
    try:
        return await feed.compute.notebook(notebook.id)
    except ServiceError as error:
        log.warning("Job %s cannot be looked at: %s", notebook.id, error)
        return notebook


async def ask_to_stop(feed: Feed, job_id: str, reason: str, log: logging.Logger) -> bool:
    """False when the service says that there is nothing to stop; else the wish was recorded, or is to be repeated."""
    try:
        await feed.compute.stop(job_id, reason)
    except RefusedByService as error:
        log.warning("Job %s is not stopped: %s", job_id, error)
        return error.status != 404
    except ServiceError as error:
        log.warning("Job %s is not stopped yet: %s", job_id, error)
    return True
