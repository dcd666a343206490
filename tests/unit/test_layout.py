"""Proxy and hub apart: what each process is told, and what JupyterHub is told of the others."""

from __future__ import annotations

import ssl
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from traitlets.config import Config

from sampan_hub.cli.checks.storage import check_storage
from sampan_hub.cli.checks.tls import check_tls
from sampan_hub.cli.kubernetes.state import wait_for_databases
from sampan_hub.cli.main import main
from sampan_hub.cli.supervise.apart import make_hub_side_commands, make_proxy_command
from sampan_hub.cli.supervise.commands import BY_JOB, make_environment
from sampan_hub.cli.supervise.ports import Ports
from sampan_hub.cli.supervise.prepare import CannotStart
from sampan_hub.cli.supervise.site import Site
from sampan_hub.identity.config import apply
from sampan_hub.identity.routes import JobProxy
from sampan_hub.settings.effective import front_settings
from sampan_hub.settings.findings import SettingsError
from sampan_hub.settings.keyfiles import ensure_key_files
from sampan_hub.settings.layout import Layout
from sampan_hub.settings.load import parse_settings
from sampan_hub.settings.model import Settings, Tls
from sampan_hub.settings.paths import StatePaths
from sampan_hub.settings.units import SecretText
from sampan_hub.trust.authority import Usage, certificate_pem, make_authority_certificate, make_key
from sampan_hub.trust.front import open_front
from sampan_hub.trust.internal import KeptContext, open_internal_authority
from tests.support.installation import free_port

LAYOUT = Layout(proxy_api="https://proxy-api:8444", hub="https://hub:8443", service="https://[fd00::7]:8444")
PORTS = Ports(public=8443, proxy_api=8444, hub=11001, service=11002)
PROGRAM = (Path("/opt/node"), Path("/opt/proxy"))
FRONT = """
profile: site
url: https://sampan.example.org/lab/
listen: ':8443'
state_dir: /state
tls: own
layout: {proxy_api: 'https://proxy-api:8444', hub: 'https://hub:8443', service: 'https://hub:8444'}
"""


def site_of(root: Path = Path("/state")) -> Site:
    settings = Settings(
        profile="site", url="https://sampan.example.org/lab/", listen=":8443", tls="own", layout=LAYOUT, state_dir=root
    )
    return Site(settings, None)


def test_the_proxy_is_told_where_all_are_and_whom_to_believe() -> None:
    command = make_proxy_command(site_of(), LAYOUT, PORTS, PROGRAM, "token")
    assert command.argv == (
        "/opt/node",
        f"--require={BY_JOB}",
        "/opt/proxy",
        "--ip=0.0.0.0",
        "--port=8443",
        "--api-ip=",
        "--api-port=8444",
        "--api-ssl-cert=/state/tls/proxy-api.crt",
        "--api-ssl-key=/state/tls/proxy-api.key",
        "--api-ssl-ca=/state/tls/front-ca.crt",
        "--api-ssl-request-cert",
        "--api-ssl-reject-unauthorized",
        "--error-target=https://hub@hub:8443/lab/hub/error",
        "--ssl-cert=/state/tls/entry.crt",
        "--ssl-key=/state/tls/entry.key",
        "--client-ssl-cert=/state/tls/front.crt",
        "--client-ssl-key=/state/tls/front.key",
        "--client-ssl-ca=/state/tls/upstream-ca.crt",
        "--client-ssl-reject-unauthorized",
    )
    assert command.secret_env == {"CONFIGPROXY_AUTH_TOKEN": "token"}


def test_an_entry_lets_in_the_front_alone_and_leads_to_loopback() -> None:
    hub, service, hub_entry, service_entry = make_hub_side_commands(site_of(), LAYOUT, PORTS, PROGRAM)
    assert [hub.name, service.name] == ["hub", "service"]
    assert service_entry.argv == (
        "/opt/node",
        "/opt/proxy",
        "--ip=fd00::7",
        "--port=8444",
        "--ssl-cert=/state/tls/service.crt",
        "--ssl-key=/state/tls/service.key",
        "--ssl-ca=/state/tls/front-ca.crt",
        "--ssl-request-cert",
        "--ssl-reject-unauthorized",
        "--default-target=http://127.0.0.1:11002",
        "--error-target=http://127.0.0.1:11001/lab/hub/error",
        "--api-socket=/state/run/service-entry.sock",
        "--keep-alive-timeout=3600000",
        "--no-x-forward",
    )
    assert service_entry.replaces == (Path("/state/run/service-entry.sock"),)
    assert {"--ip=", "--port=8443", "--default-target=http://127.0.0.1:11001"} <= set(hub_entry.argv)
    tokens = {entry.secret_env["CONFIGPROXY_AUTH_TOKEN"] for entry in (hub_entry, service_entry)}
    assert len(tokens) == 2, "nobody knows how to change where they lead"
    assert "CONFIGPROXY_AUTH_TOKEN" in make_environment({}, site_of(), hub_entry)


def test_jupyterhub_reaches_the_proxy_over_tls_and_names_itself_as_the_proxy_does(tmp_path: Path) -> None:
    paths = StatePaths(tmp_path / "state")
    ensure_key_files(paths)
    open_front(paths.tls, datetime.now(UTC))
    open_internal_authority(paths.tls, datetime.now(UTC))
    c = Config()
    apply(c, site_of(paths.root).settings, paths, PORTS)
    assert c.ConfigurableHTTPProxy.api_url == "https://proxy-api:8444"
    assert c.JobProxy.elsewhere == {
        "http://127.0.0.1:11001": "https://hub@hub:8443",
        "http://127.0.0.1:11002": "https://service@[fd00::7]:8444",
    }
    copied = deepcopy(c).JupyterHubHTTPClient.connector_options["ssl"]
    assert isinstance(copied, KeptContext)
    assert copied.verify_mode is ssl.CERT_REQUIRED
    assert copied.check_hostname


async def test_targets_elsewhere_come_and_go_unseen_by_jupyterhub(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = "http://127.0.0.1:11001", "https://hub@hub:8443"
    proxy = JobProxy(app=SimpleNamespace(users={}), should_start=False, auth_token="t", elsewhere={here: there})
    sent: list[str] = []

    async def api_request(_self: JobProxy, _path: str, method: str = "GET", body: dict[str, str] | None = None) -> None:
        sent.append((body or {})["target"])

    monkeypatch.setattr(JobProxy, "api_request", api_request)
    await proxy.add_route("/", here, {"hub": True})
    await proxy.add_route("/services/other", "http://127.0.0.1:11009", {"service": "other"})
    assert sent == [there, "http://127.0.0.1:11009"]
    for target, seen in ((there, here), ("https://hub@elsewhere:8443", "https://hub@elsewhere:8443")):
        assert proxy._reformat_routespec("/", {"hub": True, "target": target, "jupyterhub": True})["target"] == seen


def test_who_only_listens_reads_no_more_than_where(tmp_path: Path) -> None:
    file = tmp_path / "sampan.yaml"
    file.write_text(
        f"{FRONT}database: {{file: /nowhere}}\nbackends: {{pods: {{kind: kubernetes, image: {{env: NONE}}}}}}\n"
    )
    settings = front_settings(file)
    assert settings.layout is not None
    assert settings.database is None
    file.write_text(f"{FRONT.partition('layout')[0]}database: {{file: /nowhere}}\n")
    with pytest.raises(SettingsError, match="nowhere cannot be read"):
        front_settings(file)
    file.write_text(FRONT.replace("https://hub:8443", "http://hub:8443"))
    with pytest.raises(SettingsError, match="expected https://NAME:PORT"):
        front_settings(file)


@pytest.mark.parametrize("words", [("up",), ("systemd",)])
def test_what_has_no_place_in_a_cluster_says_so(tmp_path: Path, words: tuple[str, ...]) -> None:
    file = tmp_path / "sampan.yaml"
    file.write_text(FRONT.replace("/state", str(tmp_path / "state")) + "login: links\nisolation: none\n")
    done = CliRunner().invoke(main, ["--config", str(file), *words])
    assert done.exit_code == 1
    assert "sampan run NAME" in done.stderr


@pytest.mark.parametrize(
    ("side", "name"), [("proxy", "proxy"), ("hub", "hub"), ("hub", "service"), ("hub", "service-entry")]
)
def test_what_is_not_filled_is_not_made_up(tmp_path: Path, side: str, name: str) -> None:
    file = tmp_path / "sampan.yaml"
    file.write_text(FRONT.replace("/state", str(tmp_path / "state")) + "login: links\nisolation: none\n")
    done = CliRunner().invoke(main, ["--config", str(file), "run", name])
    assert done.exit_code == 1
    assert f"is missing: run `sampan kubernetes state {side} --from FOLDER` first" in done.stderr
    assert not (tmp_path / "state" / "keys").exists()
    done = CliRunner().invoke(main, ["--config", str(file), "kubernetes", "state", side, "--from", str(tmp_path)])
    assert done.exit_code == 1
    assert "cannot be read: No such file or directory; `sampan kubernetes keys` makes" in done.stderr


def test_an_entry_has_no_use_without_a_layout(tmp_path: Path) -> None:
    (tmp_path / "sampan.yaml").write_text("url: http://127.0.0.1:8000/\n")
    done = CliRunner().invoke(main, ["--config", str(tmp_path / "sampan.yaml"), "run", "hub-entry"])
    assert done.exit_code == 1
    assert "have no `layout`" in done.stderr


def test_the_hubs_side_waits_for_its_databases(capsys: pytest.CaptureFixture[str]) -> None:
    away = f"postgresql+psycopg://sampan:hunter2@127.0.0.1:{free_port()}/sampan"
    site = site_of()
    here = Site(site.settings.model_copy(update={"database": SecretText("sqlite://")}), None)
    wait_for_databases(here, 0)
    gone = Site(site.settings.model_copy(update={"hub_database": SecretText(away)}), None)
    with pytest.raises(CannotStart, match="The database of `hub_database` does not answer: ") as refused:
        wait_for_databases(gone, 0)
    assert "hunter2" not in str(refused.value) + capsys.readouterr().out


def test_the_entrys_key_is_looked_at_only_where_it_is(tmp_path: Path) -> None:
    key = make_key()
    made = make_authority_certificate(key, "Entry", Usage.SERVER, datetime.now(UTC))
    (tmp_path / "tls.crt").write_bytes(certificate_pem(made))
    tls = Tls(certificate=tmp_path / "tls.crt", key=tmp_path / "tls.key")
    assert list(check_tls(tls, datetime.now(UTC), has_key=False)) == []
    (trouble,) = check_tls(tls, datetime.now(UTC))
    assert "tls.key" in trouble.text


def test_homes_of_one_node_are_said_mildly(tmp_path: Path) -> None:
    text = "backends: {pods: {kind: kubernetes, image: i, storage: {home: {access: %s}}}}"
    said = [
        list(check_storage(parse_settings((text % access).encode(), "x", tmp_path, {})))
        for access in ("ReadWriteOnce", "ReadWriteMany")
    ]
    ((once,), many) = said
    assert once.is_mild
    assert "workers on pods do not see homes" in once.text
    assert many == []
