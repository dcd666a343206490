"""Whose is a port: only a listener of the job's own tree, and of nobody else, is the job's."""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sampan_hub.backends.local.listeners import Listener, could_answer, parse_table
from tests.contract.local_jobs import LocalJobs, python

LISTEN = """
import socket, sys, time, os
def listen(family, host):
    s = socket.socket(family); s.bind((host, 0)); s.listen(); return s
"""


@pytest.fixture
async def jobs(tmp_path: Path) -> AsyncIterator[LocalJobs]:
    rig = LocalJobs(tmp_path / "jobs")
    yield rig
    await rig.close()


async def _listening(jobs: LocalJobs, family: str, host: str, extra: str = "") -> tuple[str, int]:
    code = f"{LISTEN}s = listen(socket.{family}, {host!r})\n{extra}\n"
    code += "print('port', s.getsockname()[1], 'up', flush=True)\ntime.sleep(1000)"
    job_id = await jobs.start(python(code))
    output = await jobs.until_output(job_id, "up")
    return job_id, int(output.split()[1])


@pytest.mark.parametrize(
    ("family", "host", "asked"),
    [
        ("AF_INET", "127.0.0.1", "127.0.0.1"),
        ("AF_INET", "0.0.0.0", "127.0.0.1"),
        ("AF_INET", "0.0.0.0", "0.0.0.0"),
        ("AF_INET6", "::1", "::1"),
        ("AF_INET6", "::", "127.0.0.1"),
        ("AF_INET6", "::", "::1"),
    ],
)
async def test_its_own_listener(jobs: LocalJobs, family: str, host: str, asked: str) -> None:
    job_id, port = await _listening(jobs, family, host)
    assert await jobs.backend.owns_listener(job_id, asked, port)


async def test_a_listener_of_a_descendant_in_another_session_is_its_own(jobs: LocalJobs) -> None:
    extra = "if os.fork() == 0:\n os.setsid()\nelse:\n s.close(); time.sleep(1000)"
    job_id, port = await _listening(jobs, "AF_INET", "127.0.0.1", extra)
    assert await jobs.backend.owns_listener(job_id, "127.0.0.1", port)


async def test_other_jobs_ports_foreign_ports_and_closed_ports_are_not(jobs: LocalJobs) -> None:
    job_id, port = await _listening(jobs, "AF_INET", "127.0.0.1")
    other, _ = await _listening(jobs, "AF_INET", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as ours:
        assert not await jobs.backend.owns_listener(job_id, "127.0.0.1", ours.getsockname()[1])
        closed = ours.getsockname()[1]
    assert not await jobs.backend.owns_listener(job_id, "127.0.0.1", closed)
    assert not await jobs.backend.owns_listener(other, "127.0.0.1", port)
    assert not await jobs.backend.owns_listener(job_id, "::1", port)
    assert not await jobs.backend.owns_listener(job_id, "127.0.0.2", port)
    assert not await jobs.backend.owns_listener(job_id, "no address", port)
    assert not await jobs.backend.owns_listener(f"{jobs.instance}.aaaaaaaaaaaaaaaa", "127.0.0.1", port)


async def test_a_port_shared_with_somebody_else_is_not_its_own(jobs: LocalJobs) -> None:
    """SO_REUSEPORT: connections would reach either."""
    with socket.socket() as ours:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        ours.bind(("127.0.0.1", 0))
        ours.listen()
        port = ours.getsockname()[1]
        code = (
            "import socket, time\ns = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)\n"
            f"s.bind(('127.0.0.1', {port})); s.listen(); print('up', flush=True); time.sleep(1000)"
        )
        job_id = await jobs.start(python(code))
        await jobs.until_output(job_id, "up")
        assert not await jobs.backend.owns_listener(job_id, "127.0.0.1", port)
    assert await jobs.backend.owns_listener(job_id, "127.0.0.1", port)


async def test_an_ended_job_owns_nothing(jobs: LocalJobs) -> None:
    job_id, port = await _listening(jobs, "AF_INET", "127.0.0.1")
    await jobs.backend.cancel([job_id])
    await jobs.until_ended(job_id)
    assert not await jobs.backend.owns_listener(job_id, "127.0.0.1", port)


def test_the_kernels_table_is_read() -> None:
    assert sys.byteorder == "little"
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0\n"
        "   1: 0100007F:1F91 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0\n"
    )
    assert list(parse_table(table)) == [Listener(ipaddress.ip_address("127.0.0.1"), 8080, 111)]
    table6 = (
        "header\n   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A"
        " 00000000:00000000 00:00000000 00000000     0        0 333 1 0\n"
    )
    assert list(parse_table(table6)) == [Listener(ipaddress.ip_address("::1"), 8080, 333)]


@pytest.mark.parametrize(
    ("listening", "asked", "answers"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("0.0.0.0", "127.0.0.1", True),
        ("0.0.0.0", "::1", False),
        ("::", "127.0.0.1", True),
        ("::", "::1", True),
        ("::1", "127.0.0.1", False),
        ("::ffff:127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
    ],
)
def test_what_may_answer_a_connection(listening: str, asked: str, answers: bool) -> None:
    listener = Listener(ipaddress.ip_address(listening), 80, 1)
    assert could_answer(listener, ipaddress.ip_address(asked), 80) is answers
    assert not could_answer(listener, ipaddress.ip_address(asked), 81)
