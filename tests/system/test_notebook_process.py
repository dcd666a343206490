"""A notebook job as a process: claim, one socket from beginning to end, no secret where others look, clean ends."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from tests.support.installation import free_port, wait_until
from tests.support.kernels import Kernel
from tests.support.notebook_service import BOOTSTRAP, CREDENTIAL, PERSON_TOKEN, TOKEN, Answer, NotebookService
from tests.support.notebooks import Notebook

SERVING = "Jupyter Server"
RUNTIME = "import jupyter_core.paths; print(jupyter_core.paths.jupyter_runtime_dir())"


@pytest.fixture
def make_notebook(tmp_path: Path) -> Iterator[Callable[[str], Notebook]]:
    made: list[Notebook] = []

    def make(service_url: str) -> Notebook:
        made.append(Notebook(tmp_path / f"notebook-{len(made)}", service_url))
        return made[-1]

    yield make
    for notebook in made:
        notebook.stop()


def mode_of(path: Path) -> int | None:
    return path.stat().st_mode & 0o777 if path.exists() else None


def listener_inode(port: int) -> str:
    """The kernel's own number of the socket that listens on this loopback port."""
    wanted = f"0100007F:{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return next(row[9] for row in rows if row[1] == wanted and row[3] == "0A")


def test_the_socket_that_is_reported_is_the_one_that_serves(make_notebook: Callable[[str], Notebook]) -> None:
    with NotebookService() as service:
        notebook = make_notebook(service.url)
        notebook.start()
        notebook.wait_reported(service)
        early = listener_inode(notebook.port)
        with socket.create_connection(("127.0.0.1", notebook.port), timeout=30) as link:
            request = f"GET /user/ana/api/status HTTP/1.0\r\nAuthorization: token {PERSON_TOKEN}\r\n\r\n"
            link.sendall(request.encode())
            assert SERVING not in notebook.output, "it was to be asked before it serves"
            answer = link.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200"), answer
        assert listener_inode(notebook.port) == early
        assert notebook.call("GET", "/api/status")[0] == 200
        assert "sampan.lab | extension was successfully loaded" in notebook.output


def test_no_secret_in_arguments_environment_or_output(make_notebook: Callable[[str], Notebook]) -> None:
    with NotebookService() as service:
        notebook = make_notebook(service.url)
        notebook.start()
        notebook.wait_reported(service)
        notebook.call("GET", f"/api/status?token={PERSON_TOKEN}", token="")  # not taken from a URL, and not logged
        assert notebook.call("POST", "/api/kernels", {"name": "python3"})[0] == 201
        everywhere = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
        assert any("ipykernel_launcher" in arguments for arguments in everywhere)
        seen = "\n".join(everywhere)
        seen += Path(f"/proc/{notebook.pid}/environ").read_text() + notebook.output
        for secret in (TOKEN, PERSON_TOKEN, CREDENTIAL, BOOTSTRAP):
            assert secret not in seen
        credential = notebook.private / "credential"
        assert credential.read_text() == CREDENTIAL
        assert credential.stat().st_mode & 0o777 == 0o600


def test_a_refused_address_ends_it_with_the_sentence(make_notebook: Callable[[str], Notebook]) -> None:
    sentence = "Port 1 is not this job's own listener; nothing is routed to it."

    def refuse(body: dict[str, Any]) -> Answer:
        return 409, {"code": "not-your-listener", "detail": sentence, "status": 409}

    with NotebookService(report=refuse) as service:
        notebook = make_notebook(service.url)
        notebook.start()
        assert notebook.wait() == 1
        assert sentence in notebook.output
        assert "Traceback" not in notebook.output
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", service.reports[0]["address"]["port"]), timeout=5)


async def test_term_shuts_kernels_down_and_exits_clean(make_notebook: Callable[[str], Notebook]) -> None:
    with NotebookService() as service:
        notebook = make_notebook(service.url)
        notebook.start()
        notebook.wait_reported(service)
        async with aiohttp.ClientSession() as session:
            kernel = await Kernel.start(session, notebook.url, PERSON_TOKEN)
            runtime = Path((await kernel.execute(RUNTIME)).checked().text.strip())
        assert mode_of(runtime) == 0o700
        assert notebook.call("POST", "/api/terminals", {})[0] == 200
        children = psutil.Process(notebook.pid).children(recursive=True)
        assert len(children) >= 2
        os.kill(notebook.pid, signal.SIGTERM)
        assert notebook.wait() == 0
        wait_until(lambda: not any(child.is_running() for child in children), 5, "kernel and terminal are gone")
        assert "Traceback" not in notebook.output
        assert mode_of(runtime) is None


def test_term_while_it_waits_for_the_service_exits_clean(make_notebook: Callable[[str], Notebook]) -> None:
    notebook = make_notebook(f"http://127.0.0.1:{free_port()}/services/sampan")
    notebook.start()
    wait_until(lambda: b"sampan.notebook" in Path(f"/proc/{notebook.pid}/cmdline").read_bytes(), 10, "it runs")
    wait_until(lambda: "sigterm" in _caught_signals(notebook.pid), 10, "it takes TERM")
    os.kill(notebook.pid, signal.SIGTERM)
    assert notebook.wait() == 0
    assert notebook.output == ""


def _caught_signals(pid: int) -> set[str]:
    mask = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return {"sigterm"} if int(mask.split()[1], 16) & (1 << (signal.SIGTERM - 1)) else set()


def test_another_run_of_the_job_ends_at_once_and_quietly(make_notebook: Callable[[str], Notebook]) -> None:
    with NotebookService(claim=lambda _: (409, {"code": "exit", "detail": "another run has it"})) as service:
        notebook = make_notebook(service.url)
        notebook.start()
        assert notebook.wait() == 0
        assert notebook.output == ""
        assert len(service.claims) == 1
        assert service.reports == []


def test_it_waits_for_a_service_that_is_away(make_notebook: Callable[[str], Notebook]) -> None:
    port = free_port()
    notebook = make_notebook(f"http://127.0.0.1:{port}/services/sampan")
    notebook.start()
    wait_until(lambda: "sigterm" in _caught_signals(notebook.pid), 10, "it runs")
    with NotebookService(port=port) as service:
        notebook.wait_reported(service)
        assert notebook.call("GET", "/api/status")[0] == 200
        run = service.claims[0]["run"].split(":")
        assert run[0] == str(notebook.pid)
        assert run[2] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_a_service_that_restarts_still_hears_the_address(make_notebook: Callable[[str], Notebook]) -> None:
    refused: list[int] = []

    def come_back(body: dict[str, Any]) -> Answer:
        refused.append(1)
        return (503, {"detail": "starting"}) if len(refused) < 4 else (200, {})

    with NotebookService(report=come_back) as service:
        notebook = make_notebook(service.url)
        notebook.start()
        wait_until(lambda: len(service.reports) == 4, 30, "it asks again until it is taken")
        assert len({json.dumps(body) for body in service.reports if "address" in body}) == 1
        notebook.wait_reported(service)
        assert notebook.call("GET", "/api/status")[0] == 200


def test_a_bootstrap_that_others_can_read_is_not_trusted(make_notebook: Callable[[str], Notebook]) -> None:
    with NotebookService() as service:
        notebook = make_notebook(service.url)
        (notebook.private / "bootstrap.json").chmod(0o640)
        notebook.start()
        assert notebook.wait() == 1
        assert "open to other users" in notebook.output
        assert service.claims == []
