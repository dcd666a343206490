"""A notebook's life under the real hub and service: work is noticed, secrets stay where they belong, it ends clean."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from tests.judge.processes import processes_with_key
from tests.support.installation import wait_until
from tests.support.kernels import Kernel
from tests.support.servers import Server, running_server

SECRETS = """
import json, os
from sampan._api import read_session
from sampan.rundir import session_dir
session = read_session()
print(json.dumps({
    "token": os.environ["JUPYTERHUB_API_TOKEN"],
    "credential": session.credential_file.read_text(),
    "key": (session.job_dir / "tls" / "key.pem").read_text().splitlines()[1],
    "run": str(session_dir(session)),
}))
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path) as running:
        yield running


def read_job(server: Server, job: str) -> dict[str, Any]:
    status, view = server.installation.call("GET", f"/services/sampan/api/v1/jobs/{job}", server.token)
    assert status == 200
    return dict(view)


def files_with(folder: Path, secret: str) -> list[str]:
    """Every file below the folder in which the secret can be read."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [str(path.relative_to(folder)) for path in files if secret.encode() in path.read_bytes()]


@pytest.mark.timeout(180)
async def test_a_notebooks_life(server: Server) -> None:
    installation = server.installation
    (notebook,) = {p.pid: p for p in processes_with_key(installation.instance) if p.entry == "notebook"}.values()
    job = await asyncio.to_thread(read_job, server, notebook.job_id)
    assert (job["state"], job["busy_at"]) == ("running", None)

    async with aiohttp.ClientSession() as http:
        kernel = await Kernel.start(http, server.url, server.token)
        facts = json.loads((await kernel.execute(SECRETS)).checked().text)
    await asyncio.to_thread(
        wait_until, lambda: read_job(server, notebook.job_id)["busy_at"] is not None, 30, "work is noticed"
    )

    tree = [psutil.Process(notebook.pid), *psutil.Process(notebook.pid).children(recursive=True)]
    arguments = [argument for process in psutil.process_iter(["cmdline"]) for argument in process.info["cmdline"] or ()]
    for name in ("token", "credential", "key"):
        secret = facts[name]
        assert len(secret) > 20
        assert not [argument for argument in arguments if secret in argument], name
        found = files_with(installation.state, secret)
        assert not [path for path in found if "/private/" not in path], (name, found)

    status, _ = await asyncio.to_thread(
        installation.call, "DELETE", f"/hub/api/users/{server.name}/server", server.token
    )
    assert status in (202, 204)
    ended = await asyncio.to_thread(
        wait_until, lambda: (j := read_job(server, notebook.job_id))["state"] == "ended" and j, 40, "it ended"
    )
    assert ended["exit"]["code"] == 0, ended
    assert not [process for process in tree if process.is_running()]
    assert not folder_exists(facts["run"])


def folder_exists(path: str) -> bool:
    return Path(path).exists()
