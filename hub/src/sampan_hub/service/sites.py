"""What a request for jobs is judged by, gathered for its caller."""

from __future__ import annotations

from sampan_hub.jobs.drafts import NoSuchJob
from sampan_hub.jobs.model import Cluster
from sampan_hub.service.auth import Caller
from sampan_hub.service.context import Context
from sampan_hub.service.intake import Site
from sampan_hub.service.places import is_executable


def make_site(context: Context, caller: Caller, cluster: Cluster | None) -> Site:
    """Reads the store (call it in a worker thread)."""
    return Site(context.settings, is_executable, _environment_of(context, caller, cluster))


def _environment_of(context: Context, caller: Caller, cluster: Cluster | None) -> str | None:
    """A host asks for workers in its notebook's environment, wherever it runs."""
    if caller.job is not None:
        return caller.job.environment
    if cluster is None or cluster.parent is None:
        return None
    try:
        return context.store.job(cluster.parent).environment
    except NoSuchJob:
        return None  # its notebook is not on record (yet), after a restored database
