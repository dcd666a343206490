"""Whose process listens at an address, from `/proc/net/tcp*` and the descriptors of processes."""

from __future__ import annotations

import ipaddress
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sampan_hub.backends.local.shim.procfs import PROC, all_pids

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_LISTEN = "0A"


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening TCP socket; `inode` tells which process has it."""

    address: IpAddress
    port: int
    inode: int


def parse_table(text: str) -> Iterator[Listener]:
    """The listening sockets of one `/proc/net/tcp` or `tcp6`."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == _LISTEN:
            address, _, port = fields[1].partition(":")
            yield Listener(_parse_address(address), int(port, 16), int(fields[9]))


def _parse_address(text: str) -> IpAddress:
    """Addresses are written as words of 32 bits in this machine's byte order."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    return ipaddress.ip_address(packed)


def could_answer(listener: Listener, host: IpAddress, port: int) -> bool:
    """Whether a connection to host:port may end at this socket: wildcards answer for every address they cover."""
    if listener.port != port:
        return False
    mapped = getattr(listener.address, "ipv4_mapped", None)
    address = mapped or listener.address
    if address == host or host.is_unspecified:
        return True
    covers = address.version == host.version or address.version == 6
    return address.is_unspecified and covers


def read_listeners() -> list[Listener]:
    """Every listening TCP socket of this machine (of this network namespace)."""
    found: list[Listener] = []
    for name in ("tcp", "tcp6"):
        table = PROC / "net" / name
        if table.exists():
            found.extend(parse_table(table.read_text()))
    return found


def holds_all(pids: Iterable[int], inodes: set[int]) -> bool:
    """Whether every one of these sockets is open in one of these processes, and in no other that can be seen."""
    own = set(pids)
    held: set[int] = set()
    for pid in all_pids():
        here = inodes & _socket_inodes(pid)
        if here and pid not in own:
            return False
        held |= here
    return held == inodes


def _socket_inodes(pid: int) -> set[int]:
    try:
        entries = list(os.scandir(PROC / str(pid) / "fd"))
    except OSError:
        return set()  # it ended, or belongs to another user and then is not the job's
    targets = (_target(entry) for entry in entries)
    return {int(target[8:-1]) for target in targets if target.startswith("socket:[")}


def _target(entry: os.DirEntry[str]) -> str:
    try:
        return str(Path(entry.path).readlink())
    except OSError:
        return ""  # closed meanwhile
