"""Which ports this installation uses: the public one from the settings, three internal ones chosen free once."""

from __future__ import annotations

import itertools
import json
import os
import random
import socket
from collections.abc import Set
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Ports:
    """All on 127.0.0.1 but `public`, whose address the settings give."""

    public: int
    proxy_api: int
    hub: int
    service: int


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now (sockets of connections that are just closing do not count)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def read_ephemeral_range() -> range:
    """The ports the kernel gives to outgoing connections; a listener there may find its port in use at a restart."""
    low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    return range(int(low), int(high) + 1)


def _choose_free(count: int, avoid: set[int]) -> list[int]:
    """Distinct free loopback ports, outside those that outgoing connections take."""
    ephemeral = read_ephemeral_range()
    candidates = [port for port in range(10_240, 65_536) if port not in ephemeral and port not in avoid]
    random.SystemRandom().shuffle(candidates)
    free = (port for port in candidates if is_free("127.0.0.1", port))
    chosen = list(itertools.islice(free, count))
    if len(chosen) < count:
        raise OSError(f"no {count} free ports on 127.0.0.1 outside {ephemeral.start}-{ephemeral.stop - 1}")
    return chosen


def read_ports(path: Path) -> Ports | None:
    """What was kept; None when there is nothing usable."""
    try:
        return Ports(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def settle_ports(path: Path, public: int, running: Set[str]) -> Ports:
    """The kept internal ports beside `public`; one is replaced only if its process (by field name) does not run and
    somebody else listens there: notebooks and workers that outlive us know the service by its port.
    """
    names = ("proxy_api", "hub", "service")
    kept = asdict(read_ports(path) or Ports(public, 0, 0, 0))
    chosen = {
        name: kept[name]
        for name in names
        if kept[name] not in (0, public) and (name in running or is_free("127.0.0.1", kept[name]))
    }
    missing = [name for name in names if name not in chosen]
    fresh = _choose_free(len(missing), {public, *chosen.values()})
    return _keep(path, Ports(public=public, **chosen, **dict(zip(missing, fresh, strict=True))))


def _keep(path: Path, ports: Ports) -> Ports:
    if read_ports(path) != ports:
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(ports), file)
        draft.replace(path)
    return ports
