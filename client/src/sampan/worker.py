"""Entry point of a worker job: claim, compare, then work. `python -m sampan.worker`.

Exit codes: 0 when it was asked to end, 1 when it lost its scheduler, 77 at its memory limit, 78 when its environment
differs from the kernel's. What it knows of its end it reports to the service first.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sampan import _job, parity
from sampan.errors import SampanError
from sampan.network import address_in, address_toward, ports_in
from sampan.security import make_security, store_secrets

EXIT_LOST = 1
EXIT_MEMORY = 77
EXIT_DIFFERS = 78
OOM_SCORE = 500
"""Above the scheduler, the notebook and the hub: when memory runs out, a worker goes first."""
MEMORY_SHARE = 0.95
MEMORY_ADVICE = "take a larger size, or smaller partitions"
MEMORY_INTERVAL_S = 0.1
LAST_WORD_S = 5.0
"""How long the last report may take before the process ends anyway."""
START_TIMEOUT_S = 120
UNASKED = ("worker-handle-scheduler-connection-broken", "worker-heartbeat-missing", "worker-heartbeat-error")
"""Dask's reasons for a worker's close that nobody asked for."""

log = logging.getLogger("sampan.worker")


def main() -> int:
    """Claim this job, refuse to work in a different environment, then serve the scheduler until asked to end."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s", stream=sys.stderr)
    os.umask(0o077)
    _job.raise_oom_score(OOM_SCORE)
    bootstrap = _job.read_bootstrap()
    import_dask_beside()
    claim = _job.claim_job(bootstrap)
    os.environ.update(claim.env)
    if differs(claim):
        return EXIT_DIFFERS
    if claim.scheduler is None:
        raise SampanError(f"job {claim.access.job}: the claim names no scheduler, so this is no worker of a cluster")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    watch_memory(claim.memory_bytes, lambda text: last_word(claim, "memory-limit", text), MEMORY_ADVICE)
    return asyncio.run(_serve(claim, claim.scheduler))


def import_dask_beside(module: str = "distributed") -> None:
    """Import Dask while the claim is answered, which may wait for a scheduler that still starts.

    What Dask reads from the environment is in this job's own from its beginning.
    """
    threading.Thread(target=importlib.import_module, args=(module,), name="sampan-import", daemon=True).start()


def differs(claim: _job.Claim, here: str = "worker") -> bool:
    """Whether this environment cannot work with the kernel's; the service is told how."""
    compared = parity.compare(claim.expect, parity.versions(), here=here)
    for sentence in compared.warnings:
        log.warning("The environment differs from the kernel's (not refused): %s", sentence)
    if compared.errors:
        text = "; ".join(compared.errors)
        log.error("The environment differs from the kernel's: %s", text)
        last_word(claim, "environment-differs", text)
    return bool(compared.errors)


def last_word(claim: _job.Claim, code: str, text: str) -> None:
    try:
        _job.report(claim.access, failure=(code, text), patience_s=LAST_WORD_S)
    except SampanError as error:
        log.warning("The service could not be told why this job ends: %s", error)


def resident_bytes() -> int:
    """The memory this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory_sentence(resident: int, limit: int, advice: str) -> str:
    """What the owner reads when a job ended itself: both figures, and what to do."""
    return f"used {resident / 2**20:,.0f} MiB of the {limit / 2**20:,.0f} MiB of its size: {advice}"


def watch_memory(limit_bytes: int, tell: Callable[[str], None], advice: str) -> None:
    """End this process when it holds 95 % of its memory. A thread, because a busy event loop would look too late."""

    def watch() -> None:
        while True:
            resident = resident_bytes()
            if resident >= MEMORY_SHARE * limit_bytes:
                text = memory_sentence(resident, limit_bytes, advice)
                log.error("Memory limit: %s", text)
                tell(text)
                os._exit(EXIT_MEMORY)
            time.sleep(MEMORY_INTERVAL_S)

    threading.Thread(target=watch, name="sampan-memory", daemon=True).start()


def listen_host(claim: _job.Claim, scheduler: str) -> str:
    """The address this worker binds: in the network it was told, else the one from which it reaches the scheduler."""
    if claim.network is not None:
        return address_in(claim.network)
    host = scheduler.rpartition("://")[2].rpartition(":")[0]
    return address_toward(host.strip("[]"))


def make_worker(claim: _job.Claim, scheduler: str) -> Any:
    """The Dask worker: mutual TLS, one port, no HTTP, no nanny."""
    import dask
    from distributed import Worker

    from sampan.pace import rest_when_idle

    class SampanWorker(Worker):  # type: ignore[misc, unused-ignore]
        ended_because = ""

        def start_http_server(self, *_: Any, **__: Any) -> None:
            """Nothing listens but the authenticated port."""

            class Nothing:
                applications = ()

            self.http_application = Nothing()

        async def close(self, *args: Any, reason: str = "worker-close", **kwargs: Any) -> Any:
            self.ended_because = self.ended_because or reason
            return await super().close(*args, reason=reason, **kwargs)

    rest_when_idle()
    dask.config.set({"distributed.worker.http.routes": [], "distributed.admin.system-monitor.gil.enabled": False})
    job_dir = _job.job_folder()
    keys = store_secrets(job_dir, claim.secrets)
    return SampanWorker(
        scheduler,
        name=claim.name,
        nthreads=max(1, claim.cores_milli // 1000),
        memory_limit=claim.memory_bytes,
        security=make_security(keys),
        host=listen_host(claim, scheduler),
        port=list(ports_in(claim.ports)) if claim.ports else 0,
        local_directory=os.environ.get("SAMPAN_SCRATCH") or str(job_dir / "scratch"),
        dashboard=False,
        death_timeout=START_TIMEOUT_S,
    )


async def _serve(claim: _job.Claim, scheduler: str) -> int:
    worker = make_worker(claim, scheduler)
    loop = asyncio.get_running_loop()
    closing: set[asyncio.Task[Any]] = set()

    def close(name: str) -> None:
        if not closing:
            closing.add(loop.create_task(worker.close_gracefully(reason=f"signal-{name}")))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, close, number.name)
    try:
        await worker
    except (OSError, TimeoutError, RuntimeError) as error:
        text = f"could not join the scheduler at {scheduler}: {error}"
        log.error("This worker %s", text)
        await asyncio.to_thread(last_word, claim, "scheduler-unreachable", text)
        return EXIT_LOST
    await worker.finished()
    if closing:
        await asyncio.wait(closing, timeout=LAST_WORD_S)
    if worker.ended_because in UNASKED and not closing:
        text = "the cluster's host is gone or does not know this worker any more"
        await asyncio.to_thread(last_word, claim, "scheduler-lost", text)
        return EXIT_LOST
    return 0


if __name__ == "__main__":
    sys.exit(main())
