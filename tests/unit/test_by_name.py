"""Two certificates at one entry: the site's for people, Sampan's own for jobs inside the cluster."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sampan_hub.cli.supervise.apart import BY_NAME
from sampan_hub.cli.supervise.prepare import find_proxy
from sampan_hub.settings.kubernetes import KubernetesBackend
from sampan_hub.settings.layout import Layout
from sampan_hub.settings.model import Settings, Tls
from sampan_hub.settings.paths import StatePaths
from sampan_hub.trust.authority import Authority, Usage
from sampan_hub.trust.entry import authority_files, entry_names, has_own_beside, read_entry_bundle
from sampan_hub.trust.files import ensure_authority, ensure_certificate, ensure_folder, pair_in

INSIDE = ("proxy-public", "proxy-public.science.svc")
PEOPLE = "hub.example.org"
NOW = datetime.now(UTC)
SERVE = """
const https = require("node:https"), fs = require("node:fs");
const [, cert, key] = process.argv;
const server = https.createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) }, (_, r) => r.end("hello"));
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
"""


def issue(folder: Path, stem: str, authority: Authority, *names: str) -> None:
    day = timedelta(days=1)
    files = pair_in(folder, stem)
    ensure_certificate(files, authority, stem, names, lifetime=day, renew_before=day / 2, now=NOW)


def shown_to(port: int, name: str, authority: Path) -> bool:
    """Whether who asks for this name, and believes this authority alone, is content."""
    context = ssl.create_default_context(cafile=str(authority))
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as plain:
            context.wrap_socket(plain, server_hostname=name).close()
    except ssl.SSLCertVerificationError:
        return False
    return True


def test_who_asks_for_a_name_of_the_clusters_is_shown_sampans_own(tmp_path: Path) -> None:
    own = ensure_authority(pair_in(tmp_path, "ca"), "own", Usage.SERVER, NOW)
    site = ensure_authority(pair_in(tmp_path, "site-ca"), "site", Usage.SERVER, NOW)
    issue(tmp_path, "entry", own, *INSIDE)
    issue(tmp_path, "site", site, PEOPLE)
    node, _ = find_proxy()
    shown = [str(tmp_path / "site.crt"), str(tmp_path / "site.key")]
    environment = {**os.environ, "SAMPAN_OWN_ENTRY": str(tmp_path / "entry")}
    argv = [str(node), f"--require={BY_NAME}", "-e", SERVE, *shown]
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            for name in INSIDE:
                assert shown_to(port, name, tmp_path / "ca.crt")
                assert not shown_to(port, name, tmp_path / "site-ca.crt")
            assert shown_to(port, PEOPLE, tmp_path / "site-ca.crt")
            assert not shown_to(port, PEOPLE, tmp_path / "ca.crt")
        finally:
            server.terminate()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    certificate = tmp_path / "tls.crt"
    layout = Layout(
        proxy_api="https://proxy-api:8444",
        hub="https://hub:8443",
        service="https://hub:8444",
        entry_names=INSIDE,
    )
    return Settings(
        profile="site",
        url=f"https://{PEOPLE}/",
        listen=":8443",
        state_dir=tmp_path,
        tls=Tls(certificate=certificate, key=tmp_path / "tls.key"),
        layout=layout,
        backends={"kubernetes": KubernetesBackend(kind="kubernetes", image="x/y:1")},
    )


def reached_by(settings: Settings, url: str) -> Settings:
    backend = settings.backends["kubernetes"].model_copy(update={"reach": url})
    return settings.model_copy(update={"backends": {"kubernetes": backend}})


def test_sampans_own_is_for_the_clusters_names_alone(settings: Settings) -> None:
    assert has_own_beside(settings)
    assert entry_names(settings) == set(INSIDE)
    assert not has_own_beside(settings.model_copy(update={"tls": "own"}))
    assert entry_names(settings.model_copy(update={"tls": "own"})) == {PEOPLE, *INSIDE}


def test_jobs_know_the_entry_by_what_they_are_shown(settings: Settings, tmp_path: Path) -> None:
    paths = StatePaths(tmp_path)
    ensure_folder(paths.tls)
    ensure_authority(authority_files(paths), "own", Usage.SERVER, NOW)
    own = authority_files(paths).certificate.read_text()
    site = ensure_authority(pair_in(tmp_path, "site-ca"), "site", Usage.SERVER, NOW)
    issue(tmp_path, "tls", site, PEOPLE)
    assert read_entry_bundle(settings, paths).split() == own.split()
    outside = reached_by(settings, f"https://{PEOPLE}/")
    assert read_entry_bundle(outside, paths) == "", "signed by somebody whom machines may know"
