"""The host's first half second: keys, the cluster's row and the first workers, asked for while Dask is imported.

Workers wait in their claim until the scheduler's address is known, so they can be submitted before it exists.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sampan._api import Service, Session, read_session
from sampan._job import Access, lower_oom_score
from sampan.errors import Refused, SampanError, make_error
from sampan.host.options import (
    Options,
    first_workers,
    make_base,
    make_cluster_request,
    make_submit_request,
    read_options,
)
from sampan.network import Ports, address_in
from sampan.rundir import read_json, start_time, write_json
from sampan.security import Keys, ensure_keys, make_secrets

log = logging.getLogger("sampan.host")
PATIENCE_S = 30.0
OOM_SCORE = 100
"""Below the kernel's (300, inherited) and the workers': when memory runs out, the scheduler outlives them."""


@dataclass(slots=True)
class Registered:
    """What the service gave: the cluster's row and credential, and the answer to the first submit."""

    options: Options
    keys: Keys
    cluster_id: str
    service: Service
    """Spoken to as this cluster's host."""
    notebook: Service
    """Spoken to as who may ask what there is to be had: the notebook, or where there is none here, the host."""
    base: dict[str, Any]
    address: str
    """Where the scheduler listens."""
    ports: Ports | None
    job: Access | None = None
    """The job that this host is; None beside its notebook."""
    early_names: list[str] = field(default_factory=list)
    early_answer: dict[str, Any] | None = None


def register(session: Session, options: Options) -> Registered:
    """Make keys and the cluster's row, and submit the workers that are wanted from the start. Blocking."""
    keys = ensure_keys(session.job_dir)
    notebook = session.connect()
    answer = notebook.call_patiently("POST", "/clusters", make_cluster_request(options), patience_s=PATIENCE_S)
    cluster_id = answer["cluster"]["id"]
    service = replace(notebook, credential=answer["credential"])
    base = make_base(options, cluster_id, make_secrets(keys))
    try:
        made = Registered(options, keys, cluster_id, service, notebook, base, *choose_place(session, answer))
        _submit_early(made)
    except SampanError:
        service.call("PUT", f"/clusters/{cluster_id}", {"state": "closing"})
        raise
    return made


def choose_place(session: Session, answer: Mapping[str, Any]) -> tuple[str, Ports | None]:
    """Address and ports of the scheduler: in the network of its workers, which may run on another backend than its
    notebook; where they have none, beside the notebook."""
    network, ports = answer.get("network"), answer.get("ports")
    if network is None:
        return session.address, session.ports
    return address_in(network), (ports[0], ports[1]) if ports else None


def _submit_early(made: Registered) -> None:
    workers = first_workers(made.options)
    if workers:
        made.early_names = [name for name, _ in workers]
        request = make_submit_request(made.base, workers)
        made.early_answer = made.service.call_patiently("POST", "/jobs", request, patience_s=PATIENCE_S)
        _check_refused(made.early_answer)


def _check_refused(answer: dict[str, Any]) -> None:
    """Raise the refusal when not one worker was accepted: then there is nothing to host."""
    if all(item["status"] == "refused" for item in answer["items"]):
        problem = answer["items"][0]["problem"]
        raise make_error(problem["status"], problem, "POST /jobs")


class _Registration(threading.Thread):
    """`register` in a thread, its result or error kept."""

    def __init__(self, session: Session, options: Options) -> None:
        super().__init__(name="sampan-register", daemon=True)
        self.arguments = (session, options)
        self.made: Registered | None = None
        self.error: SampanError | None = None

    def run(self) -> None:
        try:
            self.made = register(*self.arguments)
        except SampanError as error:
            self.error = error


def describe_failure(error: Exception) -> dict[str, Any]:
    """`failed.json`: enough for the kernel to raise the same error."""
    facts: dict[str, Any] = {"detail": str(error), "type": type(error).__name__}
    if isinstance(error, Refused):
        names = ("status", "code", "field", "allowed", "limit", "used", "asked", "maximum", "raised_by")
        facts["problem"] = {name: getattr(error, name) for name in names}
    return facts


def main(arguments: Sequence[str]) -> int:
    """Host the cluster described in `FOLDER/start.json` until nobody needs it. 1: it could not start."""
    os.umask(0o077)
    lower_oom_score(OOM_SCORE)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s", stream=sys.stderr)
    folder = Path(arguments[0])
    content = read_json(folder / "start.json")
    session = read_session()
    if content is None or session is None:
        log.error("A host is started by Cluster(), inside a notebook's session, not by hand")
        return 1
    options = read_options(content)
    registration = _Registration(session, options)
    registration.start()
    import sampan.host.main as host  # Dask is imported here, while the service works

    registration.join()
    if registration.made is None:
        error = registration.error or SampanError("the registration ended without a result, see the lines above")
        log.error("The cluster could not be registered: %s", error)
        write_json(folder / "failed.json", describe_failure(error))
        return 1
    try:
        asyncio.run(host.serve(folder, registration.made))
    except Exception as error:
        log.exception("The host failed")
        if start_time(os.getpid()) is not None and not (folder / "host.json").exists():
            write_json(folder / "failed.json", describe_failure(error))
        raise
    return 0
