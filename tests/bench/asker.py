"""Asks one path over and over from a process of its own, and prints each answer's seconds as JSON at the end.

`python -m tests.bench.asker HOST:PORT PATH [COUNT]`, the credential in $BENCH_CREDENTIAL; without COUNT it asks until
its standard input ends.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import sys
import time

PAUSE_S = 0.01


def main(address: str, path: str, count: int) -> None:
    """Ask, and print."""
    connection = http.client.HTTPConnection(address, timeout=60)
    headers = {"Authorization": f"Bearer {os.environ['BENCH_CREDENTIAL']}"}
    took_s: list[float] = []
    while len(took_s) < count or (count == 0 and not select.select([sys.stdin], [], [], PAUSE_S)[0]):
        begun_s = time.monotonic()
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        took_s.append(time.monotonic() - begun_s)
        assert answer.status == 200, (answer.status, body)
    print(json.dumps(took_s))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 0)
