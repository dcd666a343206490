"""Runs on a compute node, by the environment's Python: says in lines of JSON what it finds. Standard library only."""

from __future__ import annotations

import email.utils
import ipaddress
import json
import os
import random
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

WAIT_S = 45
PORTS_TRIED = 64
TRY = """
import importlib, importlib.metadata, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))
"""


def say(kind: str, **facts: Any) -> None:
    """One line; whoever sent the job reads them as they come."""
    print(json.dumps({"kind": kind, **facts}), flush=True)


def look_at_service(url: str, bundle: str) -> None:
    """Whether it answers and is who it should be, and how far this node's clock is from its."""
    context = ssl.create_default_context(cadata=bundle or None) if url.startswith("https:") else None
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=15, context=context) as answer:  # noqa: S310 - as told
            told_s = email.utils.parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (OSError, ValueError, TypeError) as error:
        say("service", ok=False, why=str(error))
        return
    say("service", ok=True, clock_s=round(time.time() - told_s))


def look_at_environment(packages: Sequence[str]) -> None:
    """Whether this Python, with its packages, runs here."""
    argv = [sys.executable, "-I", "-c", TRY, *packages]
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        say("environment", ok=False, why=lines[-1] if lines else f"it ended with {done.returncode}")
        return
    say("environment", ok=True, versions=json.loads(done.stdout))


def own_address(network: str | None, url: str) -> str:
    """By which address others reach this node: the one towards the network, else the one towards the service."""
    target = urllib.parse.urlsplit(url).hostname if network is None else next(ipaddress.ip_network(network).hosts())
    family, _, _, _, address = socket.getaddrinfo(str(target), 9, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as way:
        way.connect(address)  # sends nothing
        return str(way.getsockname()[0])


def be_reached(order: Mapping[str, Any]) -> None:
    """Listen on one of the ports until whoever sent the job has connected."""
    network, (first, last) = order["network"], order["ports"]
    address = own_address(network, order["url"])
    if network is not None and ipaddress.ip_address(address) not in ipaddress.ip_network(network):
        say("listening", ok=False, why=f"this node has no address in {network}")
        return
    for port in random.sample(range(first, last + 1), min(PORTS_TRIED, last + 1 - first)):
        try:
            listener = socket.create_server((address, port))
        except OSError:
            continue
        with listener:
            say("listening", ok=True, address=address, port=port)
            listener.settimeout(WAIT_S)
            try:
                listener.accept()[0].close()
            except TimeoutError:
                return
        return
    say("listening", ok=False, why=f"none of {PORTS_TRIED} ports between {first} and {last} is free")


def main() -> None:
    """Everything, one thing after the other."""
    order = json.loads(Path(__file__).with_name("probe.json").read_text())
    say("node", host=socket.gethostname(), uid=os.getuid())
    look_at_service(order["url"], order["ca"])
    look_at_environment(order["packages"])
    be_reached(order)
    say("end")


if __name__ == "__main__":
    main()
