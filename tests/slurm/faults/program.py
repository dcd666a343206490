#!/usr/bin/python3.11 -I
"""A notebook job's whole program: claim, write down that this run works, serve the handshake, say where; then wait.

It lies in /shared with the client beside it. `FAULT=memory` takes more than any size has once it is ready.
"""

import contextlib
import os
import signal
import socket
import ssl
import sys
import threading
import time

HERE = "/shared/faults"
sys.path.insert(0, f"{HERE}/lib")

from sampan import _job  # noqa: E402
from sampan.errors import SampanError  # noqa: E402
from sampan.network import listen  # noqa: E402
from sampan.tls import store_tls  # noqa: E402

REPORT_EACH_S = 5
"""As a real notebook tells about itself once a minute; a service that forgot everything learns from it."""


def write_down() -> None:
    """One line for each run that was let to work: two lines under one id are a duplicate."""
    line = f"{os.environ['SAMPAN_RUN']} {socket.gethostname()}\n".encode()
    descriptor = os.open(f"{HERE}/runs/{os.environ['SAMPAN_JOB']}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(descriptor, line)
    os.close(descriptor)


def serve(listener: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        connection, _ = listener.accept()
        try:
            connection.settimeout(10)
            context.wrap_socket(connection, server_side=True).close()
        except OSError:
            connection.close()


def main() -> None:
    claim = _job.claim_job(_job.read_bootstrap())
    write_down()
    assert claim.tls is not None
    assert claim.address is not None
    context = store_tls(_job.job_folder(), claim.tls).make_context()
    listener = listen(claim.address, claim.ports)
    listener.setblocking(True)
    threading.Thread(target=serve, args=(listener, context), daemon=True).start()
    address = listener.getsockname()
    _job.report(claim.access, address=address, over_tls=True)
    print("ready", flush=True)
    if claim.env.get("FAULT") == "memory":
        taken = [bytes([1]) * (400 << 20)]
        signal.pause()
        print(len(taken))
    while True:
        time.sleep(REPORT_EACH_S)
        with contextlib.suppress(SampanError):
            _job.report(claim.access, address=address, over_tls=True)


main()
