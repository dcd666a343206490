"""Asks one path over and over from a process of its own, and prints each answer's seconds as JSON at the end.

`python -m tests.bench.asker [https://]HOST:PORT PATH [COUNT]`, the credential in $BENCH_CREDENTIAL and the authority to
believe in the file $BENCH_CA; without COUNT it asks until its standard input ends.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import ssl
import sys
import time

PAUSE_S = 0.01


def main(address: str, path: str, count: int) -> None:
    """Ask, and print."""
    connection = connect(address)
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


def connect(address: str) -> http.client.HTTPConnection:
    """Nothing is sent yet."""
    if not address.startswith("https://"):
        return http.client.HTTPConnection(address, timeout=60)
    trust = ssl.create_default_context(cafile=os.environ["BENCH_CA"])
    return http.client.HTTPSConnection(address.removeprefix("https://"), timeout=60, context=trust)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 0)
