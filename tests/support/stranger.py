"""Run by the isolation tests as another uid, with any Python: tries every address it is given, prints JSON.

argv: one JSON list of addresses, each {"tcp": port, "host": address} (without host this machine) or {"unix": path};
then pairs CERTIFICATE KEY that the stranger has. For each address it prints what a stranger got.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

HTTP = b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
PATHS = ("/", "/api/contents", "/api/kernels", "/status", "/info/main/workers.html", "/metrics", "/json/identity.json")
REQUESTS = tuple(HTTP % path.encode() for path in PATHS)
ZMTP_GREETING = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL".ljust(64, b"\0")
ZMTP_READY_SUB = b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03SUB"
ZMTP_SUBSCRIBE_ALL = b"\0\x01\x01"
LISTEN_S = 2.0


def connect(address: dict[str, Any]) -> socket.socket:
    if "tcp" in address:
        return socket.create_connection((address.get("host", "127.0.0.1"), address["tcp"]), timeout=5)
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(5)
    link.connect(address["unix"])
    return link


def ask(address: dict[str, Any], words: bytes) -> str:
    """Everything the other side says to `words`, or how it refused."""
    try:
        with connect(address) as link:
            link.sendall(words)
            said = b""
            while len(said) < 1_000_000 and (part := link.recv(65536)):
                said += part
    except OSError as error:
        return f"{type(error).__name__}" if not isinstance(error, TimeoutError) else "silence"
    return said.decode(errors="replace")


def subscribe(address: dict[str, Any]) -> str:
    """Everything a kernel's broadcast socket would tell a subscriber in LISTEN_S seconds."""
    said = b""
    deadline = time.monotonic() + LISTEN_S
    try:
        with connect(address) as link:
            link.settimeout(LISTEN_S)
            link.sendall(ZMTP_GREETING)
            said = link.recv(64)
            link.sendall(ZMTP_READY_SUB + ZMTP_SUBSCRIBE_ALL)
            while time.monotonic() < deadline and (part := link.recv(65536)):
                said += part
    except OSError as error:
        return said.decode(errors="replace") + type(error).__name__
    return said.decode(errors="replace")


def handshake(address: dict[str, Any], *pair: str) -> str:
    """TLS with no certificate, or with the stranger's own, then a few bytes: refused, or what was said."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if pair:
        context.load_cert_chain(*pair)
    try:
        with connect(address) as plain, context.wrap_socket(plain) as link:
            link.sendall(b"\0" * 64)
            return f"said {len(link.recv(65536))} bytes"
    except (OSError, ssl.SSLError) as error:
        return type(error).__name__


def main() -> None:
    report = []
    pairs = list(zip(sys.argv[2::2], sys.argv[3::2], strict=True))
    for address in json.loads(sys.argv[1]):
        with ThreadPoolExecutor(len(PATHS)) as pool:  # some are met with silence
            answers = dict(zip(PATHS, pool.map(partial(ask, address), REQUESTS), strict=True))
        seen = {"address": address, "http": answers, "tls": handshake(address), "zmq": subscribe(address)}
        report.append({**seen, "tls_as_oneself": [handshake(address, *pair) for pair in pairs]})
    print(json.dumps(report))


if __name__ == "__main__":
    main()
