"""What people find inside a notebook job: kernels, terminals, the sidebar, dashboards; and what the service hears."""

from __future__ import annotations

import asyncio
import json
import os
import socketserver
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import pytest_asyncio

from tests.support.installation import wait_until
from tests.support.kernels import Kernel
from tests.support.notebook_service import CREDENTIAL, JOB, PERSON_TOKEN, NotebookService
from tests.support.notebooks import USER_PYTHON, Notebook

AS_ANA = {"Authorization": f"token {PERSON_TOKEN}"}
FACTS = """
import json, os, sys
from pathlib import Path
from sampan._api import read_session
from sampan.rundir import session_dir
session = read_session()
print(json.dumps({
    "python": sys.executable, "folder": os.getcwd(), "server": os.environ["SAMPAN_SERVER_PID"], "job": session.job,
    "parent": os.environ["JPY_PARENT_PID"], "credential": session.credential_file.read_text(),
    "run": str(session_dir(session)), "user": os.environ["JUPYTERHUB_USER"], "path": os.environ["PATH"],
    "tls": {k: v for k, v in os.environ.items() if k.startswith("DASK_DISTRIBUTED__COMM__TLS__")},
    "oom": int(Path("/proc/self/oom_score_adj").read_text()),
}))
"""


@pytest.fixture
def service() -> Iterator[NotebookService]:
    with NotebookService() as running:
        yield running


@pytest.fixture
def notebook(service: NotebookService, tmp_path: Path) -> Iterator[Notebook]:
    made = Notebook(tmp_path / "notebook", service.url)
    try:
        made.start()
        made.wait_reported(service)
        yield made
    finally:
        made.stop()


@pytest_asyncio.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def mode_of(path: str) -> int:
    return Path(path).stat().st_mode & 0o777


async def read_facts(http: aiohttp.ClientSession, notebook: Notebook) -> dict[str, Any]:
    kernel = await Kernel.start(http, notebook.url, PERSON_TOKEN)
    facts: dict[str, Any] = json.loads((await kernel.execute(FACTS)).checked().text)
    return facts


async def test_a_kernel_knows_its_session(notebook: Notebook, http: aiohttp.ClientSession) -> None:
    facts = await read_facts(http, notebook)
    assert facts["python"] == str(USER_PYTHON)
    assert facts["path"].startswith(str(USER_PYTHON.parent))
    assert facts["folder"] == str(notebook.home)
    assert facts["server"] == facts["parent"] == str(notebook.pid)
    assert (facts["job"], facts["credential"], facts["user"]) == (JOB, CREDENTIAL, "ana")
    assert facts["oom"] >= 300
    assert set(facts["tls"]) == {
        f"DASK_DISTRIBUTED__COMM__TLS__{part}" for part in ("CA_FILE", "CLIENT__CERT", "CLIENT__KEY")
    }
    for path in facts["tls"].values():
        assert mode_of(path) == 0o600
        assert Path(path).is_relative_to(notebook.private)


async def test_kernels_talk_over_private_sockets(notebook: Notebook, http: aiohttp.ClientSession) -> None:
    """The one TCP port of a kernel is ipykernel's pipe for forked children, which tells nobody anything."""
    facts = await read_facts(http, notebook)
    kernels = psutil.Process(notebook.pid).children()
    sockets = [c.laddr for k in kernels for c in k.net_connections("unix") if str(c.laddr).startswith("/")]
    assert len(sockets) >= 5
    assert all(Path(path).is_relative_to(Path(facts["run"]) / "jupyter") for path in sockets)
    assert mode_of(facts["run"]) == 0o700
    ports = [c for k in kernels for c in k.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert len(ports) <= 1


async def test_terminals_work(notebook: Notebook, http: aiohttp.ClientSession) -> None:
    status, body = notebook.call("POST", "/api/terminals", {})
    assert status == 200
    url = f"{notebook.url}/terminals/websocket/{json.loads(body)['name']}"
    async with http.ws_connect(url, headers={"Authorization": f"token {PERSON_TOKEN}"}) as terminal:
        await terminal.send_str(json.dumps(["stdin", "echo $((6 * 7))-$(command -v python)\r"]))
        seen = ""
        async with asyncio.timeout(20):
            while f"42-{USER_PYTHON}" not in seen:
                message = json.loads((await terminal.receive()).data)
                seen += message[1] if message[0] == "stdout" else ""


async def test_lab_is_the_first_page_and_asks_nobody_for_news(notebook: Notebook) -> None:
    status, page = notebook.call("GET", "/lab")
    assert status == 200
    settings = json.loads(
        page.split(b'<script id="jupyter-config-data" type="application/json">')[1].split(b"</script>")[0]
    )
    assert settings["news"] == {"disabled": True}
    assert settings["extensionManager"]["can_install"] is False
    assert settings["hubUser"] == "ana"
    assert notebook.call("GET", "/lab/api/update")[1] in (b"", b'{"notification": null}')
    assert notebook.call("GET", "/api/status", token="")[0] in (302, 403)


async def test_work_is_reported_and_an_open_tab_is_not(
    service: NotebookService, notebook: Notebook, http: aiohttp.ClientSession
) -> None:
    def busy() -> list[bool]:
        return [body["busy"] for body in service.reports if "busy" in body]

    await asyncio.to_thread(wait_until, lambda: busy() == [False], 20, "a fresh notebook is idle")
    kernel = await Kernel.start(http, notebook.url, PERSON_TOKEN)
    (await kernel.execute("import time; time.sleep(3)")).checked()
    await asyncio.to_thread(wait_until, lambda: busy()[1:] == [True, False], 20, "work begins and ends")

    looks_until = time.monotonic() + 7  # three looks of the reporter
    async with http.ws_connect(
        f"{notebook.url}/api/kernels/{kernel.id}/channels", headers={"Authorization": f"token {PERSON_TOKEN}"}
    ):
        while time.monotonic() < looks_until:
            for path in ("/api/kernels", "/api/terminals", "/api/sessions", "/dask/clusters", "/api/contents"):
                assert (await asyncio.to_thread(notebook.call, "GET", path))[0] == 200
            usage = f"/api/metrics/v1/kernel_usage/get_usage/{kernel.id}"
            assert (await asyncio.to_thread(notebook.call, "GET", usage))[0] == 200
    assert busy()[1:] == [True, False]


async def test_a_service_that_is_away_only_delays_the_news(
    service: NotebookService, notebook: Notebook, http: aiohttp.ClientSession
) -> None:
    await asyncio.to_thread(wait_until, lambda: {"busy": False} in service.reports, 20, "a fresh notebook is idle")
    kernel = await Kernel.start(http, notebook.url, PERSON_TOKEN)
    service.stop()
    (await kernel.execute("import time; time.sleep(3)")).checked()
    await asyncio.to_thread(wait_until, lambda: "was not told" in notebook.output, 20, "it could not tell")
    service.start()
    (await kernel.execute("import time; time.sleep(1)")).checked()
    running = asyncio.create_task(kernel.execute("import time; time.sleep(25)"))
    await asyncio.to_thread(wait_until, lambda: {"busy": True} in service.reports, 25, "it tells when it can")
    await http.post(f"{notebook.url}/api/kernels/{kernel.id}/interrupt", headers=AS_ANA)
    assert "KeyboardInterrupt" in (await running).error
    assert "Traceback" not in notebook.output


class _Host(socketserver.ThreadingUnixStreamServer):
    """Stands in for a cluster's host: HTTP on a private unix socket."""

    daemon_threads = True

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = f"dashboard {self.path}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def address_string(self) -> str:
            return "unix"


@contextmanager
def running_host(run: Path, name: str) -> Iterator[None]:
    """A cluster's folder as its host leaves it, with this process as the host."""
    folder = run / name
    folder.mkdir(mode=0o700)
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    host = {"pid": os.getpid(), "pid_started": started, "started_at": time.time(), "scheduler": "tls://127.0.0.1:9"}
    state = {"workers": 3, "cores": 6, "memory_bytes": 3 * 2**30, "adapt": [0, 8], "status": "running"}
    (folder / "host.json").write_text(json.dumps(host))
    (folder / "state.json").write_text(json.dumps(state))
    server = _Host(str(folder / "dash.sock"), _Host.Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


async def test_the_sidebar_lists_clusters_and_opens_their_dashboards(
    notebook: Notebook, http: aiohttp.ClientSession
) -> None:
    run = Path((await read_facts(http, notebook))["run"])
    assert json.loads(notebook.call("GET", "/dask/clusters")[1]) == []
    with running_host(run, "flights"):
        (model,) = json.loads((await asyncio.to_thread(notebook.call, "GET", "/dask/clusters"))[1])
        assert model["name"] == "flights"
        assert (model["workers"], model["cores"], model["memory"]) == (3, 6, "3.00 GiB")
        assert model["adapt"] == {"minimum": 0, "maximum": 8}
        assert model["dashboard_link"] == "/user/ana/sampan/flights/status"
        for path in ("/sampan/flights", f"/dask/dashboard/{model['id']}"):
            answer = await asyncio.to_thread(notebook.call, "GET", f"{path}/individual-plots.json?a=b")
            assert answer == (200, b"dashboard /individual-plots.json?a=b")
            assert (await asyncio.to_thread(notebook.call, "GET", f"{path}/status", None, ""))[0] in (302, 403)
        assert (await asyncio.to_thread(notebook.call, "GET", "/dask/clusters", None, ""))[0] == 403
        assert (await asyncio.to_thread(notebook.call, "PATCH", f"/dask/clusters/{model['id']}", {}))[0] == 400
    assert notebook.call("GET", "/sampan/flights/status")[0] == 404
    assert notebook.call("GET", "/sampan/..%2F..%2Fflights/status")[0] == 404
    assert notebook.call("DELETE", f"/dask/clusters/{model['id']}")[0] == 404
