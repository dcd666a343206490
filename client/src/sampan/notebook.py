"""The entry point of a notebook job: claim, listen, report, serve. `python -m sampan.notebook`.

    bootstrap.json ─> claim ─> environment ─> listen ─> report the address (beside) ─> import and run the server

The socket is bound once, before anything heavy is imported, and handed to the Jupyter server as it is: whoever
connects early waits in its queue, and no other process can take the port in between.

On another machine than the service it speaks TLS, with a certificate of this claim, to proxy, hub and service alone.
The address is reported when it serves then: before, nobody could be shown who listens there.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit, urlunsplit

from sampan import forkserver, network, rundir
from sampan._api import read_session
from sampan._job import Access, Claim, claim_job, job_folder, raise_oom_score, read_bootstrap, report
from sampan.errors import SampanError
from sampan.host import zygote
from sampan.tls import NotebookTls, store_tls

OOM_SCORE = 300
"""Kernels inherit it: when memory runs out, they go before the scheduler (a host lowers its own) and the hub (0)."""


def main() -> int:
    """Run this notebook job to its end; the exit code is 0 when it was asked to stop."""
    hosts = zygote.start(forkserver.for_hosts)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    logging.basicConfig(format="%(message)s")
    try:
        raise_oom_score(OOM_SCORE)
        claim = claim_job(read_bootstrap())
        listener = listen(claim)
        files = store(claim, job_folder())
        os.environ.update(make_environment(claim, files, os.environ, listener.getsockname()[:2]))
        runtime = make_runtime_folder()
        if hosts is not None:
            hosts.listen(runtime.parent)
        try:
            tell = partial(report_beside, claim.access, listener.getsockname()[:2], over_tls=files.tls is not None)
            return serve(listener, tell, files.tls)
        finally:
            shutil.rmtree(runtime, ignore_errors=True)
            rundir.clear(runtime.parent)
    except SampanError as error:
        print(f"sampan.notebook: {error}", file=sys.stderr)
        return 1


@dataclass(frozen=True, slots=True)
class Files:
    """What this notebook keeps in its job folder for itself and its kernels, 0600."""

    folder: Path
    credential: Path
    ca: Path | None
    """Certificates by which to know a service on another machine."""
    tls: NotebookTls | None


def store(claim: Claim, folder: Path) -> Files:
    """The claim's secrets as files."""
    credential, ca = folder / "credential", folder / "ca.pem"
    rundir.write_private(credential, claim.access.credential.encode())
    if claim.access.ca is not None:
        rundir.write_private(ca, claim.access.ca.encode())
    tls = store_tls(folder, claim.tls) if claim.tls is not None else None
    return Files(folder, credential, ca if claim.access.ca is not None else None, tls)


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


def listen(claim: Claim) -> socket.socket:
    """A listening socket: with a certificate where the claim said, else on the host that JupyterHub named.

    Raises SampanError for one that others could reach unencrypted.
    """
    if claim.tls is not None and claim.address is not None:
        return network.listen(claim.address, claim.ports)
    host = urlsplit(claim.env.get("JUPYTERHUB_SERVICE_URL", "")).hostname or network.LOOPBACK
    if not network.is_loopback(host):
        raise SampanError(f"{host} can be reached from other machines, and there is no certificate to serve with there")
    return network.listen(host, None)


def make_environment(
    claim: Claim, files: Files, environ: Mapping[str, str], address: tuple[str, int]
) -> dict[str, str]:
    """What this process, and so its kernels and terminals, get on top of the job's own environment."""
    binaries = str(Path(sys.executable).parent)
    given = {**claim.env, **claim.secrets}
    prefix = given.get("JUPYTERHUB_SERVICE_PREFIX", "/")
    scheme, netloc = "https" if files.tls else "http", f"{network.bracketed(address[0])}:{address[1]}"
    return {
        "MEM_LIMIT": str(claim.memory_bytes),
        "CPU_LIMIT": str(claim.cores_milli / 1000),
        **given,
        "JUPYTERHUB_SERVICE_URL": urlunsplit((scheme, netloc, prefix, "", "")),
        "PATH": os.pathsep.join([binaries, given.get("PATH") or environ.get("PATH") or os.defpath]),
        "SAMPAN_SERVICE": claim.access.service,
        "SAMPAN_JOB": claim.access.job,
        "SAMPAN_JOB_DIR": str(files.folder),
        "SAMPAN_CREDENTIAL_FILE": str(files.credential),
        "SAMPAN_SERVER_PID": str(os.getpid()),
        **({"SAMPAN_HOST_JOBS": "1"} if claim.host_jobs else {}),
        **_tls_environment(claim, files),
    }


def _tls_environment(claim: Claim, files: Files) -> dict[str, str]:
    """For a notebook on another machine: how kernels know the service, where schedulers listen, JupyterHub's own."""
    if files.tls is None:
        return {}
    return {
        "SAMPAN_CA_FILE": str(files.ca or ""),
        "SAMPAN_ADDRESS": claim.address or network.LOOPBACK,
        "SAMPAN_PORTS": network.render_ports(claim.ports),
        "JUPYTERHUB_SSL_KEYFILE": str(files.tls.key),
        "JUPYTERHUB_SSL_CERTFILE": str(files.tls.certificate),
        "JUPYTERHUB_SSL_CLIENT_CA": str(files.ca or ""),
    }


def report_beside(access: Access, address: tuple[str, int], *, over_tls: bool) -> Future[None]:
    """Report the address beside everything else, for as long as it takes the service to listen."""
    outcome: Future[None] = Future()

    def tell() -> None:
        try:
            report(access, address=address, over_tls=over_tls, patience_s=float("inf"))
        except SampanError as error:
            outcome.set_exception(error)
        else:
            outcome.set_result(None)

    Thread(target=tell, name="report address", daemon=True).start()
    return outcome


def serve(listener: socket.socket, tell: Callable[[], Future[None]], tls: NotebookTls | None) -> int:
    """Run the single-user server on the listener until it is stopped; a refused address ends it with its sentence.

    `tell` begins to report the address: while the server is imported or, over TLS, once it answers.
    """
    reported = tell() if tls is None else None
    from sampan.lab import lean

    lean.prepare()
    from sampan.lab.server import make_server

    server = make_server(listener, tls)
    refusals: list[BaseException] = []

    def on_reported(outcome: Future[None]) -> None:
        if (error := outcome.exception()) is not None:
            refusals.append(error)
            server.stop()

    server.io_loop.add_callback(lambda: server.io_loop.add_future(reported or tell(), on_reported))
    server.start()
    for refusal in refusals:
        raise refusal
    return 0


if __name__ == "__main__":
    sys.exit(main())
