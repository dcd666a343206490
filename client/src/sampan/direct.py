"""`Cluster()` where there is no compute service: dask-jobqueue on a Slurm login node, else Dask's LocalCluster."""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sampan.errors import ClusterNotFound, Refused
from sampan.request import Adapt, Workers, make_counts, make_range
from sampan.rundir import LOCAL, ensure_private
from sampan.security import ensure_keys, make_security

SLURM_CORES = 1
SLURM_MEMORY = "4GiB"
SCRATCH = "sampan_scratch"
PROLOGUE = (
    "umask 077",
    f"{SCRATCH}=$(mktemp -d /tmp/sampan-direct-XXXXXXXX)",
    f"trap 'rm -rf \"${SCRATCH}\"' EXIT",
    "trap 'exit 143' TERM",
)
"""In the job's script: a private folder on the node for what a worker spills, gone with it, and not before it: a shell
that catches the signal waits for the worker's end."""


def make_cluster(
    workers: Workers = None,
    size: str | None = None,
    *,
    name: str | None = None,
    adapt: Adapt = None,
    project: str | None = None,
    backend: str | None = None,
    env: str | None = None,
    idle_timeout: str | float = "20m",
    asynchronous: bool = False,
) -> Any:
    """A working cluster with the arguments of `Cluster`; one printed line says which and why.

    `size` and `backend` mean nothing without a service and are refused; `env` and `project` only work with Slurm.
    """
    del idle_timeout  # these clusters end with their kernel
    slurm = shutil.which("sbatch") is not None
    check_arguments(slurm=slurm, size=size, backend=backend, env=env, project=project, workers=workers)
    if slurm:
        print("No compute service here, but sbatch: this is dask-jobqueue's SLURMCluster, with TLS.")
        cluster = _make_slurm(name, project, env, asynchronous)
    else:
        print("No compute service and no sbatch here: this is Dask's LocalCluster, on this machine alone.")
        cluster = _make_local(name, asynchronous)
    minimum, maximum = make_range(adapt)
    if workers is not None:
        count = sum(make_counts(workers).values())
        _when_ready(cluster, asynchronous, lambda: cluster.scale(count))
    elif slurm:
        _when_ready(cluster, asynchronous, lambda: cluster.adapt(minimum=minimum, maximum=maximum or 10))
    else:
        cores = len(os.sched_getaffinity(0))
        _when_ready(cluster, asynchronous, lambda: cluster.adapt(minimum=minimum, maximum=maximum or cores))
    return cluster


def check_arguments(*, slurm: bool, workers: Workers, **arguments: str | None) -> None:
    """Refuse, by name, what cannot be had without a service."""
    useless = ("size", "backend") if slurm else ("size", "backend", "env", "project")
    for name in useless:
        if arguments[name] is not None:
            raise Refused(
                f"{name}={arguments[name]!r} needs Sampan's compute service, and there is none here "
                "(SAMPAN_SERVICE is not set): leave it out",
                field=name,
                code="no-service",
            )
    if isinstance(workers, Mapping):
        raise Refused(
            "workers by size need Sampan's compute service, and there is none here: give a number",
            field="workers",
            code="no-service",
        )


class _Direct:
    """What `Cluster` has beyond Dask's own, as far as it makes sense without a service."""

    def why(self) -> str:
        """Who is there of how many wanted."""
        mine: Any = self
        return f"{len(mine.scheduler_info['workers'])} of {len(mine.worker_spec)} workers are here; no service to ask."

    def logs(self) -> dict[str, str]:
        """As `get_logs`, as plain text."""
        mine: Any = self
        return {str(name): str(log) for name, log in mine.get_logs().items()}

    @property
    def cost(self) -> None:
        """Nothing has a price without a service."""

    def quote(self, n: int, size: str | None = None) -> Any:
        """Not answerable here."""
        raise ClusterNotFound(f"There is no compute service here, so nobody knows what {n} workers (size {size}) cost")


def _own_folder() -> Path:
    """Private, on this machine, gone with this process."""
    folder = ensure_private(LOCAL / f"sampan-{os.getuid()}-direct-{os.getpid()}")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _make_local(name: str | None, asynchronous: bool) -> Any:
    from distributed import LocalCluster

    class DirectLocal(_Direct, LocalCluster):  # type: ignore[misc, unused-ignore]
        """LocalCluster under the name people asked for."""

    return DirectLocal(
        n_workers=0,
        threads_per_worker=1,
        name=name,
        security=make_security(ensure_keys(_own_folder())),
        protocol="tls://",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        asynchronous=asynchronous,
    )


def _make_slurm(name: str | None, project: str | None, env: str | None, asynchronous: bool) -> Any:
    import dask
    from dask_jobqueue import SLURMCluster

    from sampan.request import make_environment

    class DirectSlurm(_Direct, SLURMCluster):  # type: ignore[misc, unused-ignore]
        """SLURMCluster with TLS, one process per job and no nanny."""

    shared = ensure_private(Path.home() / ".sampan-tls")  # nodes read the keys from here
    _, interpreter = make_environment(env)
    configured = dask.config.get("jobqueue.slurm")  # what the site or the person says to dask-jobqueue
    return DirectSlurm(
        cores=configured["cores"] or SLURM_CORES,
        memory=configured["memory"] or SLURM_MEMORY,
        processes=1,
        nanny=False,
        name=name,
        account=project,
        python=interpreter or sys.executable,
        security=make_security(ensure_keys(shared)),
        protocol="tls://",
        shared_temp_directory=str(shared),
        local_directory=configured["local-directory"] or f"${SCRATCH}",
        job_script_prologue=[*(configured["job-script-prologue"] or []), *PROLOGUE],
        scheduler_options={
            "local_directory": str(_own_folder()),  # Dask's place in /tmp is open and stays
            **(configured["scheduler-options"] or {}),
            "dashboard_address": "127.0.0.1:0",
        },
        asynchronous=asynchronous,
    )


def _when_ready(cluster: Any, asynchronous: bool, action: Any) -> None:
    """Now, or, for an asynchronous cluster, as soon as it has been awaited."""
    if not asynchronous:
        action()
        return

    async def later() -> None:
        await cluster
        action()

    task = asyncio.get_running_loop().create_task(later())
    cluster._futures.add(task)
