"""Entry point of a job that is a cluster's host: claim, compare, then host. `python -m sampan.scheduler`.

It is the same host as beside a notebook (`sampan.host`), but what it needs comes with its claim: the notebook and it
share nothing but the service and TLS. Exit codes are a worker's; 0 when it was asked to end or nobody needed it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from sampan import _job, rundir
from sampan._api import Service
from sampan.errors import SampanError
from sampan.host.options import first_workers, make_base, read_options
from sampan.host.start import PATIENCE_S, Registered
from sampan.network import LOOPBACK
from sampan.security import store_secrets
from sampan.worker import EXIT_DIFFERS, differs, import_dask_beside, last_word, watch_memory

MEMORY_ADVICE = "fewer and larger tasks, or an administrator gives schedulers of this backend more"

log = logging.getLogger("sampan.scheduler")


def main() -> int:
    """Claim this job and host the cluster that the claim names until nobody needs it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s", stream=sys.stderr)
    os.umask(0o077)
    bootstrap = _job.read_bootstrap()
    import_dask_beside("sampan.host.main")
    claim = _job.claim_job(bootstrap)
    os.environ.update(claim.env)
    if differs(claim, "scheduler"):
        return EXIT_DIFFERS
    made = take_over(claim)
    watch_memory(claim.memory_bytes, lambda text: last_word(claim, "memory-limit", text), MEMORY_ADVICE)
    import sampan.host.main as host

    runtime = rundir.ensure_private(rundir.runtime_dir(claim.access.job, claim.access.credential))
    rundir.own(runtime)
    try:
        asyncio.run(host.serve(rundir.ensure_private(runtime / made.options.name), made))
    finally:
        rundir.clear(runtime)
    return 0


def take_over(claim: _job.Claim) -> Registered:
    """What a host beside its notebook gets by registering: here the notebook did that, and asked for the workers."""
    if claim.cluster is None:
        raise SampanError(f"job {claim.access.job}: the claim names no cluster, so this is no scheduler's")
    options = read_options(claim.cluster["options"])
    service = Service(claim.access.service, claim.cluster["credential"], ca=claim.access.ca)
    made = Registered(
        options=options,
        keys=store_secrets(_job.job_folder(), claim.secrets),
        cluster_id=claim.cluster["id"],
        service=service,
        notebook=service,
        base=make_base(options, claim.cluster["id"], claim.secrets),
        address=claim.address or LOOPBACK,
        ports=claim.ports,
        job=claim.access,
    )
    if options.workers:
        find_first(made)
    return made


def find_first(made: Registered) -> None:
    """Take over those of the first workers that are there; the others were refused, and are asked for anew."""
    query = {"cluster": made.cluster_id, "kind": "worker"}
    answer = made.service.call_patiently("GET", "/jobs", query=query, patience_s=PATIENCE_S)
    wanted = {name for name, _ in first_workers(made.options)}
    jobs = [job for job in answer["jobs"] if job["name"] in wanted]
    items = [{"index": index, "job": job} for index, job in enumerate(jobs)]
    made.early_names, made.early_answer = [job["name"] for job in jobs], {"items": items}


if __name__ == "__main__":
    sys.exit(main())
