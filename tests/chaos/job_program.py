"""What the whole program of a light installation's job does: claim, tell that this run works, serve the handshake, say
where; then wait. It lies beside the client wherever jobs run.

`FAULT=memory` takes more than any size has once it is ready; other faults are `more`, by their names.
"""

import contextlib
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping

from sampan import _job
from sampan.errors import SampanError
from sampan.network import listen
from sampan.tls import store_tls

REPORT_EACH_S = 5
"""As a real notebook tells about itself once a minute; a service that forgot everything learns from it."""


def run(tell_that_it_works: Callable[[_job.Access], None], more: Mapping[str, Callable[[], None]]) -> None:
    """Never ends by itself. Two runs that are told under one id are a duplicate."""
    bootstrap = _job.read_bootstrap()
    claim = _job.claim_job(bootstrap)
    tell_that_it_works(bootstrap)
    assert claim.tls is not None
    assert claim.address is not None
    context = store_tls(_job.job_folder(), claim.tls).make_context()
    listener = listen(claim.address, claim.ports)
    listener.setblocking(True)
    threading.Thread(target=_serve, args=(listener, context), daemon=True).start()
    address = listener.getsockname()
    _job.report(claim.access, address=address, over_tls=True)
    print("ready", flush=True)
    fault = claim.env.get("FAULT", "")
    if fault == "memory":
        _take_memory()
    elif fault in more:
        more[fault]()
    while True:
        time.sleep(REPORT_EACH_S)
        with contextlib.suppress(SampanError):
            _job.report(claim.access, address=address, over_tls=True)


def _serve(listener: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        connection, _ = listener.accept()
        try:
            connection.settimeout(10)
            context.wrap_socket(connection, server_side=True).close()
        except OSError:
            connection.close()


def _take_memory() -> None:
    taken = [bytes([1]) * (400 << 20)]
    signal.pause()
    print(len(taken))
