"""Who may see and do what: pure decisions over a caller and a record. What is not allowed here is not allowed."""

from __future__ import annotations

from sampan_hub.jobs.model import Cluster, Job
from sampan_hub.service.auth import Caller


def sees_job(caller: Caller, job: Job) -> bool:
    """Its owner, its notebook, its cluster's host, the hub and administrators; a notebook also sees itself."""
    if caller.sees_all:
        return True
    match caller.kind:
        case "user":
            return job.owner == caller.owner
        case "notebook":
            return caller.subject in (job.parent, job.id)
        case "scheduler":
            return job.cluster == caller.subject
        case _:
            return False


def stops_job(caller: Caller, job: Job) -> bool:
    """Whoever sees it, but a notebook only its children: its own end is the hub's business."""
    return sees_job(caller, job) and not (caller.kind == "notebook" and job.id == caller.subject)


def sees_cluster(caller: Caller, cluster: Cluster) -> bool:
    """Its owner, the notebook that made it, its own host, the hub and administrators."""
    if caller.sees_all:
        return True
    match caller.kind:
        case "user":
            return cluster.owner == caller.owner
        case "notebook":
            return cluster.parent == caller.subject
        case "scheduler":
            return cluster.id == caller.subject
        case _:
            return False
