"""The decisions of a notebook job and of its server extension."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.web import HTTPError

from sampan._api import read_session
from sampan._job import Access, Claim, read_private, run_token
from sampan.errors import SampanError
from sampan.lab.activity import REPEAT_S, Told, is_busy, needs_telling
from sampan.lab.clusters import cluster_id, format_memory, make_model
from sampan.lab.sidebar import read_wish
from sampan.notebook import Files, listen, make_environment
from sampan.tls import NotebookTls

FILES = Files(Path("/jobs/a"), Path("/jobs/a/credential"), None, None)
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def make_claim(env: dict[str, str], secrets: dict[str, str]) -> Claim:
    access = Access("http://127.0.0.1:9/services/sampan", "aaaaaaaa.b", "the-credential")
    return Claim(access, "notebook", "", "ana", 2**30, 1000, env, secrets, {}, None)


def test_the_environment_names_the_port_that_was_bound() -> None:
    claim = make_claim(
        {"JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:0/x/", "JUPYTERHUB_SERVICE_PREFIX": "/user/ana/"},
        {"JUPYTERHUB_API_TOKEN": "t"},
    )
    made = make_environment(claim, FILES, {"PATH": "/bin"}, ("127.0.0.1", 4321))
    assert made["JUPYTERHUB_SERVICE_URL"] == "http://127.0.0.1:4321/user/ana/"
    assert made["JUPYTERHUB_API_TOKEN"] == "t"
    assert made["PATH"] == f"{Path(sys.executable).parent}:/bin"
    assert (made["MEM_LIMIT"], made["CPU_LIMIT"]) == (str(2**30), "1.0")
    assert made["SAMPAN_CREDENTIAL_FILE"] == "/jobs/a/credential"
    assert made["SAMPAN_SERVER_PID"] == str(os.getpid())
    assert "the-credential" not in made.values()
    assert not {"SAMPAN_CA_FILE", "SAMPAN_ADDRESS", "SAMPAN_PORTS", "JUPYTERHUB_SSL_KEYFILE"} & made.keys()


def test_on_another_machine_kernels_learn_whom_to_believe_and_where_to_listen() -> None:
    tls = NotebookTls(Path("/jobs/a/c"), Path("/jobs/a/k"), Path("/jobs/a/front"))
    claim = replace(make_claim({}, {}), address="10.0.0.3", ports=(30000, 30010), tls={})
    made = make_environment(claim, replace(FILES, ca=Path("/jobs/a/ca.pem"), tls=tls), {}, ("10.0.0.3", 30001))
    assert made["JUPYTERHUB_SERVICE_URL"] == "https://10.0.0.3:30001/"
    assert made["JUPYTERHUB_SSL_CERTFILE"] == "/jobs/a/c"
    assert made["JUPYTERHUB_SSL_CLIENT_CA"] == "/jobs/a/ca.pem", "for the hub; who may connect is another matter"
    assert "/jobs/a/front" not in made.values()
    session = read_session(made)
    assert session is not None
    assert (session.ca_file, session.address, session.ports) == (Path("/jobs/a/ca.pem"), "10.0.0.3", (30000, 30010))


def test_a_v6_host_is_bracketed() -> None:
    made = make_environment(make_claim({}, {}), FILES, {}, ("::1", 80))
    assert made["JUPYTERHUB_SERVICE_URL"] == "http://[::1]:80/"


@pytest.mark.parametrize(("url", "host"), [("", "127.0.0.1"), ("http://127.0.0.2:0/user/ana/", "127.0.0.2")])
def test_it_listens_where_the_hub_said(url: str, host: str) -> None:
    with listen(make_claim({"JUPYTERHUB_SERVICE_URL": url}, {})) as listener:
        assert listener.getsockname()[0] == host
        assert listener.getsockname()[1] > 0


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "node7", "[::]"])
def test_it_listens_nowhere_else_without_a_certificate(host: str) -> None:
    with pytest.raises(SampanError, match="no certificate"):
        listen(make_claim({"JUPYTERHUB_SERVICE_URL": f"http://{host}:0/user/ana/"}, {}))


def test_credentials_are_never_printed() -> None:
    claim = make_claim({}, {"JUPYTERHUB_API_TOKEN": "hidden-token"})
    assert "the-credential" not in repr(claim)
    assert "hidden-token" not in repr(claim)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660])
def test_what_others_can_read_is_not_trusted(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "bootstrap.json"
    path.write_text("{}")
    path.chmod(mode)
    with pytest.raises(SampanError, match="open to other users"):
        read_private(path)
    path.chmod(0o600)
    assert read_private(path) == "{}"
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(SampanError, match="cannot be read"):
        read_private(tmp_path / "link")


def test_a_run_is_told_apart_from_a_later_process_with_its_pid() -> None:
    pid, started, boot = run_token().split(":")
    assert pid == str(os.getpid())
    assert started == Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19]
    assert len(boot) == 36


def test_the_oom_score_only_rises() -> None:
    """In a process of its own, for it cannot be undone."""
    code = (
        "from sampan._job import raise_oom_score as r; r(400); r(100); print(open('/proc/self/oom_score_adj').read())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) >= 400


@given(busy=st.booleans(), told=st.sampled_from([None, True, False]), passed_s=st.floats(0, 1000))
def test_changes_are_told_at_once_and_work_now_and_then(busy: bool, told: bool | None, passed_s: float) -> None:
    tells = needs_telling(busy, Told(told, 100.0), 100.0 + passed_s)
    if busy is not told:
        assert tells
    elif not busy:
        assert not tells, "idleness is told once"
    elif passed_s < REPEAT_S - 1:
        assert not tells


def test_work_shorter_than_one_look_is_seen() -> None:
    assert is_busy(["idle", "busy"], [], NOON)
    assert is_busy(["idle"], [NOON + timedelta(seconds=1)], NOON)
    assert not is_busy(["idle", "starting"], [NOON, NOON - timedelta(hours=1)], NOON)
    assert not is_busy([], [], NOON)


@pytest.mark.parametrize(
    ("body", "wish"),
    [
        (b'{"workers": 3}', {"sizes": {"": 3}}),
        (b'{"workers": 3, "adapt": null, "id": "x"}', {"sizes": {"": 3}}),
        (b'{"workers": 3, "adapt": {"minimum": 0, "maximum": 5}}', {"minimum": 0, "maximum": 5}),
    ],
)
def test_what_the_sidebar_wishes(body: bytes, wish: dict[str, object]) -> None:
    assert read_wish(body) == wish


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'"x"', b'{"workers": -1}', b'{"workers": true}', b'{"workers": 1.5}',
     b'{"adapt": {"minimum": 2, "maximum": 1}}', b'{"adapt": {"minimum": 2}}', b'{"adapt": 3}'],
)  # fmt: skip
def test_what_makes_no_sense_is_a_400(body: bytes) -> None:
    with pytest.raises(HTTPError) as refusal:
        read_wish(body)
    assert refusal.value.status_code == 400


@given(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True))
def test_ids_fit_the_sidebars_urls(name: str) -> None:
    assert re.fullmatch(r"\w+-\w+-\w+-\w+-\w+", cluster_id(name))


def test_memory_as_people_read_it() -> None:
    assert [format_memory(n) for n in (0, 512, 2**20, 3 * 2**30, 5 * 2**43)] == [
        "0.00 B", "512.00 B", "1.00 MiB", "3.00 GiB", "40.00 TiB",
    ]  # fmt: skip


def test_a_cluster_that_only_begins_is_shown_empty() -> None:
    model = make_model("calc", "tls://127.0.0.1:1", {}, "/user/ana/")
    assert (model["workers"], model["cores"], model["memory"]) == (0, 0, "0.00 B")
    assert model["dashboard_link"] == "/user/ana/sampan/calc/status"
