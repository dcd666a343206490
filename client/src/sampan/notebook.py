"""The entry point of a notebook job: claim, listen, report, serve. `python -m sampan.notebook`.

    bootstrap.json ─> claim ─> environment ─> listen ─> report the address (beside) ─> import and run the server

The socket is bound once, before anything heavy is imported, and handed to the Jupyter server as it is: whoever
connects early waits in its queue, and no other process can take the port in between.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import sys
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit, urlunsplit

from sampan import forkserver, rundir
from sampan._api import read_session
from sampan._job import Access, Claim, claim_job, job_folder, raise_oom_score, read_bootstrap, report
from sampan.errors import SampanError
from sampan.host import zygote

OOM_SCORE = 300
"""Kernels inherit it: when memory runs out, they go before the scheduler (a host lowers its own) and the hub (0)."""
BACKLOG = 512


def main() -> int:
    """Run this notebook job to its end; the exit code is 0 when it was asked to stop."""
    hosts = zygote.start(forkserver.for_hosts)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    logging.basicConfig(format="%(message)s")
    try:
        raise_oom_score(OOM_SCORE)
        claim = claim_job(read_bootstrap())
        listener = listen(claim.env)
        os.environ.update(make_environment(claim, job_folder(), os.environ, listener.getsockname()[:2]))
        rundir.write_private(credential_file(job_folder()), claim.access.credential.encode())
        runtime = make_runtime_folder()
        if hosts is not None:
            hosts.listen(runtime.parent)
        try:
            return serve(listener, report_beside(claim.access, listener.getsockname()[:2]))
        finally:
            shutil.rmtree(runtime, ignore_errors=True)
            rundir.clear(runtime.parent)
    except SampanError as error:
        print(f"sampan.notebook: {error}", file=sys.stderr)
        return 1


def credential_file(folder: Path) -> Path:
    """Where this job's kernels find the notebook's credential."""
    return folder / "credential"


def make_runtime_folder() -> Path:
    """The folder for the sockets of kernels and what else Jupyter keeps while it runs: private, local, a short path.

    (A unix socket's path has at most 107 bytes; Jupyter's own place in a home folder may be longer, shared or full.)
    """
    session = read_session()
    if session is None:
        raise SampanError("SAMPAN_SERVICE is not set after the claim: start the notebook again")
    rundir.sweep()
    own = rundir.ensure_private(rundir.session_dir(session))
    rundir.own(own)
    folder = rundir.ensure_private(own / "jupyter")
    os.environ["JUPYTER_RUNTIME_DIR"] = str(folder)
    return folder


def listen(env: Mapping[str, str]) -> socket.socket:
    """A listening socket on a free port of the host that JupyterHub named (loopback when it named none)."""
    host = urlsplit(env.get("JUPYTERHUB_SERVICE_URL", "")).hostname or "127.0.0.1"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind((host, 0))
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def make_environment(
    claim: Claim, folder: Path, environ: Mapping[str, str], address: tuple[str, int]
) -> dict[str, str]:
    """What this process, and so its kernels and terminals, get on top of the job's own environment."""
    binaries = str(Path(sys.executable).parent)
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    given = {**claim.env, **claim.secrets}
    prefix = given.get("JUPYTERHUB_SERVICE_PREFIX", "/")
    return {
        "MEM_LIMIT": str(claim.memory_bytes),
        "CPU_LIMIT": str(claim.cores_milli / 1000),
        **given,
        "JUPYTERHUB_SERVICE_URL": urlunsplit(("http", f"{host}:{address[1]}", prefix, "", "")),
        "PATH": os.pathsep.join([binaries, given.get("PATH") or environ.get("PATH") or os.defpath]),
        "SAMPAN_SERVICE": claim.access.service,
        "SAMPAN_JOB": claim.access.job,
        "SAMPAN_JOB_DIR": str(folder),
        "SAMPAN_CREDENTIAL_FILE": str(credential_file(folder)),
        "SAMPAN_SERVER_PID": str(os.getpid()),
    }


def report_beside(access: Access, address: tuple[str, int]) -> Future[None]:
    """Report the address while the server is being imported, for as long as it takes the service to listen."""
    outcome: Future[None] = Future()

    def tell() -> None:
        try:
            report(access, address=address, patience_s=float("inf"))
        except SampanError as error:
            outcome.set_exception(error)
        else:
            outcome.set_result(None)

    Thread(target=tell, name="report address", daemon=True).start()
    return outcome


def serve(listener: socket.socket, reported: Future[None]) -> int:
    """Run the single-user server on the listener until it is stopped; a refused address ends it with its sentence."""
    from sampan.lab import lean

    lean.prepare()
    from sampan.lab.server import make_server

    server = make_server(listener)
    refusals: list[BaseException] = []

    def on_reported(outcome: Future[None]) -> None:
        if (error := outcome.exception()) is not None:
            refusals.append(error)
            server.stop()

    server.io_loop.add_future(reported, on_reported)
    server.start()
    for refusal in refusals:
        raise refusal
    return 0


if __name__ == "__main__":
    sys.exit(main())
