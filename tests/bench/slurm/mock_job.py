"""A job that only pretends: it claims itself, shows the certificate it was handed if it is a notebook, and sleeps.

Copied into an environment of its own as `sampan.notebook` and `sampan.worker`; standard library only. What sleeps in
the end is `sleep` itself, so that a thousand of them fit on one computer.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

PORTS = range(31000, 32000)
RETRY_S = 2.0


class Service:
    """The compute service, as the bootstrap names it."""

    def __init__(self, folder: Path) -> None:
        bootstrap = json.loads((folder / "bootstrap.json").read_text())
        self.base = f"{bootstrap['service']}/api/v1/jobs/{bootstrap['job']}"
        self.credential = bootstrap["credential"]
        self.trust = ssl.create_default_context(cadata=bootstrap["ca"])

    def post(self, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        """Repeated for as long as the service is away or busy."""
        headers = {"Authorization": f"Bearer {self.credential}", "Content-Type": "application/json"}
        data = json.dumps(body).encode()
        while True:
            request = urllib.request.Request(f"{self.base}/{verb}", method="POST", data=data, headers=headers)
            try:
                with urllib.request.urlopen(request, timeout=90, context=self.trust) as answer:
                    return dict(json.loads(answer.read()))
            except urllib.error.HTTPError as error:
                with error:
                    if error.code < 500:
                        raise SystemExit(f"{verb}: {error.code} {error.read().decode()}") from None
            except OSError:
                pass
            time.sleep(RETRY_S)


def listen(host: str, start: int) -> socket.socket:
    """On the first free port from a place in the range that few others begin at."""
    for offset in range(len(PORTS)):
        with contextlib.suppress(OSError):
            return socket.create_server((host, PORTS[(start + offset) % len(PORTS)]))
    raise SystemExit("no port is free")


def show_certificate(listener: socket.socket, tls: dict[str, str], folder: Path) -> None:
    """Answer handshakes as a notebook does, until the process becomes another."""
    for name in ("certificate", "key"):
        (folder / name).write_text(tls[name])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=tls["clients"])
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(folder / "certificate", folder / "key")
    while True:
        connection, _ = listener.accept()
        with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as channel:
            channel.recv(1)


def main() -> None:
    """Claim, report, sleep."""
    folder = Path(os.environ["SAMPAN_JOB_DIR"])
    service = Service(folder)
    host = socket.gethostbyname(socket.gethostname())
    claim = service.post("claim", {"run": os.environ["SAMPAN_RUN"], "host": socket.gethostname(), "address": host})
    service.credential = claim["credential"]
    if claim.get("tls"):
        listener = listen(host, os.getpid() * 37 % len(PORTS))
        threading.Thread(target=show_certificate, args=(listener, claim["tls"], folder), daemon=True).start()
        address = {"scheme": "https", "host": host, "port": listener.getsockname()[1]}
        service.post("report", {"address": address})
    os.execv("/usr/bin/sleep", ["sleep", "infinity"])


if __name__ == "__main__":
    main()
