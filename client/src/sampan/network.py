"""Where a job listens on its machine: on which address, at which port. Standard library only."""

from __future__ import annotations

import errno
import ipaddress
import random
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from sampan.errors import SampanError

LOOPBACK = "127.0.0.1"
BACKLOG = 512
_ANY_PORT = 9
"""Nothing is sent there: the kernel is only asked which of its addresses it would use."""

Ports = tuple[int, int]
"""The first and the last one."""


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine can reach what listens there; a name counts as reachable."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def choose_address(network: str | None, service: str) -> str:
    """This machine's address in `network` (CIDR); without one, the address from which it reaches the service."""
    return address_in(network) if network is not None else address_toward(urlsplit(service).hostname or LOOPBACK)


def address_in(network: str) -> str:
    """This machine's address in that network. Raises SampanError where it has none."""
    wanted = ipaddress.ip_network(network)
    inside = wanted[1] if wanted.num_addresses > 1 else wanted[0]
    try:
        found = address_toward(str(inside))
    except SampanError:
        found = ""
    if not found or ipaddress.ip_address(found) not in wanted:
        raise SampanError(
            f"{socket.gethostname()} has no address in {network}, where jobs of this backend are to listen: "
            "an administrator sets `network:` of the backend to one that all its machines are in"
        )
    return found


def address_toward(host: str) -> str:
    """The address from which this machine reaches `host`. Raises SampanError where it does not."""
    failure: OSError | None = None
    try:
        for family, kind, protocol, _, target in socket.getaddrinfo(host, _ANY_PORT, type=socket.SOCK_DGRAM):
            try:
                with socket.socket(family, kind, protocol) as probe:
                    probe.connect(target)
                    return str(probe.getsockname()[0])
            except OSError as error:  # an address of a family that this machine does not have
                failure = failure or error
    except OSError as error:
        failure = error
    raise SampanError(f"{socket.gethostname()} finds no way to {host}: {failure}") from failure


def ports_in(ports: Ports | None) -> Iterator[int]:
    """Every port of the range once, beginning somewhere, so that jobs of one machine seldom ask for the same first."""
    if ports is None:
        yield 0
        return
    first, last = ports
    count = last - first + 1
    start = random.randrange(count)  # noqa: S311 - spread, no secret
    yield from (first + (start + step) % count for step in range(count))


def listen(host: str, ports: Ports | None) -> socket.socket:
    """A listening socket on a free port of the range. Raises SampanError when all are taken."""
    for port in ports_in(ports):
        if (listener := _listen_at(host, port)) is not None:
            return listener
    raise SampanError(f"every port on {host} {render_ports(ports)} is taken: an administrator widens `ports:`")


def free_ports(host: str, ports: Ports) -> Iterator[int]:
    """Those of the range that nobody listens on at the moment of looking, for who binds by himself."""
    for port in ports_in(ports):
        if (listener := _listen_at(host, port)) is not None:
            listener.close()
            yield port


def _listen_at(host: str, port: int) -> socket.socket | None:
    """None where the port is taken."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise SampanError(f"{host}:{port} cannot be listened on: {error.strerror}") from error
    listener.setblocking(False)
    return listener


def bracketed(host: str) -> str:
    """As addresses are written in front of a port."""
    return f"[{host}]" if ":" in host else host


def render_ports(ports: Ports | None) -> str:
    """`30000-32767`; empty where any port will do."""
    return f"{ports[0]}-{ports[1]}" if ports else ""


def parse_ports(text: str) -> Ports | None:
    """The inverse of `render_ports`."""
    first, dash, last = text.partition("-")
    return (int(first), int(last)) if dash else None
