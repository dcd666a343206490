"""Whether an address is one of a job's node."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Collection

from sampan_hub.backends.base import BackendError


async def is_on(host: str, nodes: Collection[str], network: str | None) -> bool:
    """Whether the IP address `host` is one by which these nodes are known, or lies on the network of the jobs.

    Nodes are not known by their address on a network of its own; what listens there has to prove itself all the same.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if not nodes or address.is_loopback:
        return False
    if network is not None:
        return address in ipaddress.ip_network(network)
    for node in nodes:
        if address in await _addresses(node):
            return True
    return False


async def _addresses(node: str) -> set[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(node, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise BackendError(f"the node {node} has no address here: {error.strerror}; name it in DNS or hosts") from error
    return {ipaddress.ip_address(str(entry[4][0])) for entry in found}
