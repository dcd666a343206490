"""ranges.py RANGE…: fails if one of them overlaps a route, an address or a name server of this machine."""

from __future__ import annotations

import ipaddress
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

SHOWN_BY = (["ip", "-4", "route", "show", "table", "all"], ["ip", "-4", "-o", "addr"])
RESOLV_CONF = Path("/etc/resolv.conf")


def read_taken() -> Iterator[ipaddress.IPv4Network]:
    words = [
        word for argv in SHOWN_BY for word in subprocess.run(argv, stdout=subprocess.PIPE, text=True).stdout.split()
    ]
    if RESOLV_CONF.exists():
        lines = [line.split() for line in RESOLV_CONF.read_text().splitlines()]
        words += [line[1] for line in lines if len(line) > 1 and line[0] == "nameserver"]
    for word in words:
        try:
            network = ipaddress.IPv4Network(word, strict=False)
        except ValueError:
            continue
        if network.prefixlen > 0 and not network.is_loopback:
            yield network


def main(ranges: Sequence[str]) -> None:
    for taken in read_taken():
        for wanted in map(ipaddress.IPv4Network, ranges):
            if wanted.overlaps(taken):
                sys.exit(f"kube-testbed: {wanted} clashes with {taken} here; set KT_POD_CIDR, KT_SVC_CIDR, KT_LINK")


if __name__ == "__main__":
    main(sys.argv[1:])
