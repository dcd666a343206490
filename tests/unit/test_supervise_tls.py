"""What the proxy is told of certificates, and when it is started anew for others."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan_hub.cli.supervise.commands import Command, make_commands, orders_of
from sampan_hub.cli.supervise.jobs import count_busy_kernels
from sampan_hub.cli.supervise.ports import Ports
from sampan_hub.cli.supervise.prepare import CannotStart, ensure_state
from sampan_hub.cli.supervise.site import Site
from sampan_hub.settings.effective import effective_settings

PORTS = Ports(8443, 1, 2, 3)
ENTRY = "url: https://localhost:8443/\nlisten: 127.0.0.1:8443\n"
CROSSING = f"{ENTRY}tls: own\nbackends: {{a: {{kind: slurm, submit_as: one}}}}\n"


def make_proxy(folder: Path, settings: str) -> tuple[Site, Command]:
    """The site, prepared, and its proxy's command."""
    (folder / "sampan.yaml").write_text(settings)
    site = Site(effective_settings(folder / "sampan.yaml"), None)
    ensure_state(site)
    return site, make_commands(site, PORTS, Path("node"), Path("proxy"), "secret")[0]


def test_nothing_is_made_or_told_without_need(tmp_path: Path) -> None:
    site, proxy = make_proxy(tmp_path, "url: http://127.0.0.1:8000/\n")
    assert not site.paths.tls.exists()
    assert not [word for word in proxy.argv if "ssl" in word or "require" in word]
    assert proxy.read_once == ()


def test_with_own_tls_it_shows_what_sampan_made(tmp_path: Path) -> None:
    site, proxy = make_proxy(tmp_path, f"{ENTRY}tls: own\n")
    tls = site.paths.tls
    assert {f"--ssl-cert={tls / 'entry.crt'}", f"--ssl-key={tls / 'entry.key'}"} <= set(proxy.argv)
    assert not [word for word in proxy.argv if word.startswith("--client-ssl")]
    assert not (tls / "front.key").exists(), "nobody is asked on other machines"


def test_a_certificate_that_cannot_be_read_is_said_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "certificate.pem").touch()
    with pytest.raises(CannotStart, match=r"key\.pem cannot be read .*: set `tls`"):
        make_proxy(tmp_path, f"{ENTRY}tls: {{certificate: certificate.pem, key: key.pem}}\n")


def test_towards_notebooks_it_shows_the_fronts_and_takes_their_authoritys_alone(tmp_path: Path) -> None:
    site, proxy = make_proxy(tmp_path, CROSSING)
    tls = site.paths.tls
    expected = {
        f"--client-ssl-cert={tls / 'front.crt'}",
        f"--client-ssl-key={tls / 'front.key'}",
        f"--client-ssl-ca={tls / 'jobs-ca.crt'}",
        "--client-ssl-reject-unauthorized",
    }
    assert expected <= set(proxy.argv)
    (preloaded,) = [word.removeprefix("--require=") for word in proxy.argv if word.startswith("--require=")]
    assert Path(preloaded).is_file()
    assert proxy.argv.index(f"--require={preloaded}") < proxy.argv.index("proxy"), "node's option, not the proxy's"
    assert all(path.is_file() for path in proxy.read_once)


def test_other_certificates_are_other_orders(tmp_path: Path) -> None:
    site, proxy = make_proxy(tmp_path, CROSSING)
    before = orders_of(proxy, "")
    assert orders_of(make_proxy(tmp_path, CROSSING)[1], "") == before
    (site.paths.tls / "entry.crt").unlink()
    assert orders_of(make_proxy(tmp_path, CROSSING)[1], "") != before, "a new one was made"


def test_kernels_behind_tls_are_not_counted(tmp_path: Path) -> None:
    site, _ = make_proxy(tmp_path, CROSSING)
    address = {"scheme": "https", "host": "10.88.0.3", "port": 30001}
    assert count_busy_kernels(site, [{"kind": "notebook", "address": address, "name": "", "owner": "ana"}]) is None
