"""What another uid of the same machine gets from a session's listeners: nothing."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from tests.judge.processes import processes_with_key
from tests.support.installation import Installation, wait_until
from tests.support.kernels import Kernel

NOBODY = 65534
STRANGER = Path(__file__).parents[1] / "support" / "stranger.py"
PLANTED = "planted-7f1c0e"


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    running = Installation(tmp_path / "site")
    try:
        running.start()
        yield running
    finally:
        running.stop()


def listeners(instance: str) -> list[dict[str, Any]]:
    """Every TCP port and unix socket on which a process of the session listens."""
    found = []
    for process in processes_with_key(instance):
        for connection in psutil.Process(process.pid).net_connections("all"):
            if connection.status == psutil.CONN_LISTEN:
                found.append({"tcp": connection.laddr.port})
            elif str(connection.laddr).startswith("/"):
                found.append({"unix": str(connection.laddr)})
    return [json.loads(text) for text in sorted({json.dumps(address) for address in found})]


def as_stranger(addresses: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What uid nobody gets from them; a copy of the script lies where nobody may read it."""
    folder = Path(tempfile.mkdtemp(prefix="stranger-"))
    folder.chmod(0o755)
    try:
        script = shutil.copy(STRANGER, folder / "stranger.py")
        Path(script).chmod(0o644)
        done = subprocess.run(
            ["/usr/bin/python3", "-I", script, json.dumps(addresses)],
            user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, text=True, check=True, timeout=600,
        )  # fmt: skip
    finally:
        shutil.rmtree(folder)
    return list(json.loads(done.stdout))


def is_content(answer: str) -> bool:
    """Whether an HTTP answer gave anything: a redirect to the login or a refusal does not."""
    status = answer.split(" ", 2)[1] if answer.startswith("HTTP/") else ""
    return status.startswith("2") or PLANTED in answer


@pytest.mark.timeout(600)
@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to look with the eyes of another uid")
async def test_another_uid_gets_no_content(installation: Installation) -> None:
    name = installation.run("user", "list").stdout.split()[0]
    token = installation.token(name)
    assert installation.call("POST", f"/hub/api/users/{name}/server", token, {})[0] in (201, 202)
    status = f"/user/{name}/api/status"
    await asyncio.to_thread(
        wait_until, lambda: installation.call("GET", status, token)[0] == 200, 60, "the server answers"
    )
    async with aiohttp.ClientSession() as session:
        kernel = await Kernel.start(session, f"{installation.url}/user/{name}", token)
        code = (
            f"from sampan import Cluster\ncluster = Cluster(2)\nclient = cluster.get_client()\n"
            f"client.wait_for_workers(2, timeout=60)\nclient.publish_dataset(x=client.submit(lambda: '{PLANTED}'))\n"
            f"print(cluster.dashboard_link)"
        )
        (await kernel.execute(code, timeout_s=90)).checked()
        talk = asyncio.create_task(
            kernel.execute(f"import time\nfor _ in range(150): print('{PLANTED}'); time.sleep(.2)")
        )
        addresses = listeners(installation.instance)
        assert len([a for a in addresses if "tcp" in a]) >= 4, addresses  # the notebook, the scheduler, two workers
        assert len([a for a in addresses if "unix" in a]) >= 1, addresses
        report = await asyncio.to_thread(as_stranger, addresses)
        (await talk).checked()
    for seen in report:
        opened = {path: answer for path, answer in seen["http"].items() if is_content(answer)}
        assert not opened, (seen["address"], opened)
        assert not seen["tls"].startswith("said"), seen
        assert PLANTED not in seen["zmq"], f"a kernel's output is told to strangers: {seen['address']}"
