"""Beginning a cluster from a kernel: its host starts where the service says, and is waited for until it listens."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from typing import Any

from sampan import rundir
from sampan._api import Service, Session
from sampan.errors import ClusterFailed, ServiceUnavailable, WorkerWarning
from sampan.host.handle import AsJob, Beside, Handle
from sampan.host.hosted import Hosted, find_named, read_hosted
from sampan.host.launch import START_TIMEOUT_S, start_host
from sampan.host.options import Options, make_hosted_request
from sampan.security import ensure_keys, make_secrets

PATIENCE_S = 30.0
FEED_WAIT_S = 20
RETRY_S = 0.5
TELL_AFTER_S = 5.0
"""Who waits longer for a host that is a job hears why."""
LOG_LINES = 20
_told: set[str] = set()


def begin(session: Session, options: Options) -> Handle:
    """Start a host for these options, or join the one that the name has, ready to be connected to. Blocking.

    Raises what the service refused, or `ClusterFailed` with the end of the host's log.
    """
    if session.host_jobs:
        request = make_hosted_request(options, make_secrets(ensure_keys(session.job_dir)))
        service = session.connect()
        answer = service.call_patiently("POST", "/clusters", request, patience_s=PATIENCE_S)
        tell_once(answer.get("notice"))
        if answer["host"] is not None:
            return _await_ready(session, service, answer)
    return Beside(rundir.cluster_dir(session, options.name), start_host(session, options))


def tell_once(notice: str | None) -> None:
    """What holds for every cluster is said with the first one of this process."""
    if notice and notice not in _told:
        _told.add(notice)
        warnings.warn(notice, WorkerWarning, stacklevel=2)


def find(session: Session, name: str) -> Handle | None:
    """The host of a running cluster of this session; None where there is none. Blocking."""
    folder = rundir.cluster_dir(session, name)
    beside = rundir.live_host(folder)
    if beside is not None:
        return Beside(folder, beside)
    hosted = find_named(session, name)
    return None if hosted is None else AsJob(session, hosted, {})


def _await_ready(session: Session, service: Service, answer: Mapping[str, Any]) -> AsJob:
    """Follow the feed until the host said where it listens."""
    cluster_id, name = answer["cluster"]["id"], answer["cluster"]["name"]
    begun_s, revision, told = time.monotonic(), None, ""
    while (waited_s := time.monotonic() - begun_s) < START_TIMEOUT_S:
        query = {"cluster": cluster_id, "revision": revision, "wait": FEED_WAIT_S if revision is not None else None}
        try:
            feed = service.call("GET", "/jobs", query=query, timeout_s=FEED_WAIT_S + 15)
        except ServiceUnavailable:
            time.sleep(RETRY_S)
            continue
        revision = feed["revision"]
        hosted = next(iter(read_hosted(feed)), None)
        if hosted is not None and hosted.scheduler is not None:
            return AsJob(session, hosted, {})
        if (ended := _read_end(feed, cluster_id)) is not None:
            lost = AsJob(session, Hosted(cluster_id, name, answer["host"]["id"], "ended", None, None), {})
            raise ClusterFailed(f"The cluster {name} has ended before it began: {ended}", lost.log(LOG_LINES))
        waiting = _why_waiting(feed)
        if waited_s > TELL_AFTER_S and waiting not in ("", told):
            told = waiting
            warnings.warn(f"{name}: its scheduler has not started yet: {waiting}", WorkerWarning, stacklevel=2)
    service.call("DELETE", f"/clusters/{cluster_id}")
    raise ClusterFailed(
        f"The scheduler of {name} was not there after {START_TIMEOUT_S:.0f} s, and the cluster was ended. {told}"
    )


def _read_end(feed: Mapping[str, Any], cluster_id: str) -> str | None:
    """How the cluster ended; None while it has not."""
    row = next((row for row in feed["clusters"] if row["id"] == cluster_id), None)
    if row is None or row["state"] != "ended":
        return None
    return str((row["reason"] or {}).get("text") or "its scheduler has ended")


def _why_waiting(feed: Mapping[str, Any]) -> str:
    host = next((job for job in feed["jobs"] if job["kind"] == "scheduler"), None)
    return str((host["reason"] or {}).get("text") or "") if host is not None else ""
