#!/usr/bin/python3
"""A notebook job's whole program: claim, tell that this run works, serve the handshake, say where; then wait.

It lies in an image with the client beside it. `FAULT` says what it does once it is ready: `memory` takes more than any
size has, `disk` writes more than /scratch may hold, `exit` ends with an error.
"""

import contextlib
import os
import signal
import socket
import ssl
import sys
import threading
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, "/opt/faults/lib")

from sampan import _job
from sampan.errors import SampanError
from sampan.network import listen
from sampan.tls import store_tls

REPORT_EACH_S = 5
"""As a real notebook tells about itself once a minute; a service that forgot everything learns from it."""


def tell_that_it_works(bootstrap: _job.Access) -> None:
    """Two runs that are told under one id are a duplicate; whoever is not heard does not go on."""
    entry = bootstrap.service.rsplit("/", 3)[0]
    trust = ssl.create_default_context(cadata=bootstrap.ca)
    url = f"{entry}/runs/{bootstrap.job}/{os.environ['SAMPAN_RUN']}"
    urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=60, context=trust).close()


def serve(listener: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        connection, _ = listener.accept()
        try:
            connection.settimeout(10)
            context.wrap_socket(connection, server_side=True).close()
        except OSError:
            connection.close()


def misbehave(fault: str) -> None:
    if fault == "memory":
        taken = [bytes([1]) * (400 << 20)]
        signal.pause()
        print(len(taken))
    if fault == "disk":
        Path("/scratch/much").write_bytes(bytes(64 << 20))
    if fault == "exit":
        sys.exit("it ends with an error, as it was told to")


def main() -> None:
    bootstrap = _job.read_bootstrap()
    claim = _job.claim_job(bootstrap)
    tell_that_it_works(bootstrap)
    assert claim.tls is not None
    assert claim.address is not None
    context = store_tls(_job.job_folder(), claim.tls).make_context()
    listener = listen(claim.address, claim.ports)
    listener.setblocking(True)
    threading.Thread(target=serve, args=(listener, context), daemon=True).start()
    address = listener.getsockname()
    _job.report(claim.access, address=address, over_tls=True)
    print("ready", flush=True)
    misbehave(claim.env.get("FAULT", ""))
    while True:
        time.sleep(REPORT_EACH_S)
        with contextlib.suppress(SampanError):
            _job.report(claim.access, address=address, over_tls=True)


main()
