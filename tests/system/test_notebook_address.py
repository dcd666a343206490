"""What a notebook may claim to be: the service routes people to nothing but the job's own listener."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import psutil
import pytest

from tests.judge.processes import processes_with_key
from tests.support.kernels import Kernel
from tests.support.servers import Server, running_server

OURS = ("proxy", "hub", "service")
REPORT = """
import json
from sampan import Refused
from sampan._api import read_session
session = read_session()
def report(port):
    body = {"address": {"scheme": "http", "host": "127.0.0.1", "port": port}}
    try:
        session.connect().call("POST", f"/jobs/{session.job}/report", body)
    except Refused as refused:
        return refused.code
    return "taken"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("address")) as running:
        yield running


def listening_ports(pid: int) -> list[int]:
    connections = psutil.Process(pid).net_connections("tcp")
    return [c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN]


def address_of(server: Server, job: str) -> Any:
    status, view = server.installation.call("GET", f"/services/sampan/api/v1/jobs/{job}", server.token)
    assert status == 200
    return view["address"]


async def test_no_other_listener_is_accepted(server: Server) -> None:
    """Not the proxy's, the hub's or the service's, not a stranger's, not one that nobody has."""
    installation = server.installation
    (notebook,) = {p.pid: p for p in processes_with_key(installation.instance) if p.entry == "notebook"}.values()
    before = address_of(server, notebook.job_id)
    own = listening_ports(notebook.pid)
    assert before["port"] in own

    with socket.create_server(("127.0.0.1", 0)) as stranger:
        ports = {
            "public": urlsplit(installation.url).port,
            **{f"{name} {port}": port for name in OURS for port in listening_ports(installation.process(name))},
            "this test's": stranger.getsockname()[1],
            "nobody's": 1,
        }
        assert len(ports) >= 5
        async with aiohttp.ClientSession() as http:
            kernel = await Kernel.start(http, server.url, server.token)
            code = f"{REPORT}\nprint(json.dumps({{name: report(port) for name, port in {ports!r}.items()}}))"
            answers = json.loads((await kernel.execute(code)).checked().text)
            assert answers == dict.fromkeys(ports, "not-your-listener")
            again = f"{REPORT}\nprint(report({before['port']}))"
            assert (await kernel.execute(again)).checked().text.strip() == "taken"
    assert address_of(server, notebook.job_id) == before
