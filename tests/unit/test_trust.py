"""Certificates of our own: made once, for one use, for the names of today, and believed by nobody for anything else."""

from __future__ import annotations

import asyncio
import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.x509 import ExtendedKeyUsage

from sampan_hub.cli.checks.tls import check_own
from sampan_hub.settings.keyfiles import KeyFileError
from sampan_hub.settings.load import parse_settings
from sampan_hub.settings.model import Settings
from sampan_hub.settings.paths import StatePaths
from sampan_hub.trust.authority import (
    Usage,
    certificate_pem,
    common_name,
    make_key,
    names_of,
)
from sampan_hub.trust.entry import authority_files, ensure_entry, entry_files, entry_names, read_entry_bundle
from sampan_hub.trust.files import ensure_authority, pair_in, read_certificate
from sampan_hub.trust.front import Front, Handed, front_files, jobs_authority_files, open_front

NOW = datetime.now(UTC)
YEAR = timedelta(days=365)
JOB = "aaaaaaaa.bbbbbbbbbbbbbbbb"


def settings_of(text: str) -> Settings:
    return parse_settings(text.encode(), "sampan.yaml", Path("/site"), {})


OWN = settings_of(
    "url: https://sampan.example/\nlisten: 192.0.2.1:443\ntls: own\n"
    "backends: {a: {kind: slurm, reach: 'https://10.0.0.1:8443/'}, b: {kind: slurm}, c: {kind: local}}\n"
)


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


# The entry


def test_its_certificate_is_for_every_name_it_is_reached_by(tmp_path: Path) -> None:
    paths = StatePaths(tmp_path)
    assert ensure_entry(OWN, paths, NOW)
    certificate = read_certificate(entry_files(OWN, paths).certificate)  # type: ignore[union-attr]
    assert names_of(certificate) == {"sampan.example", "192.0.2.1", "10.0.0.1"} == entry_names(OWN)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc < timedelta(days=825)
    assert stat.S_IMODE(paths.tls.stat().st_mode) == 0o700
    assert modes(paths.tls) == {0o600}
    assert read_entry_bundle(OWN, paths) == authority_files(paths).certificate.read_text()


def test_every_address_is_no_name() -> None:
    everywhere = settings_of("url: https://sampan.example/\nlisten: ':443'\ntls: own\n")
    assert entry_names(everywhere) == {"sampan.example"}


def test_it_is_kept_until_names_change_or_its_end_is_near(tmp_path: Path) -> None:
    paths, files = StatePaths(tmp_path), pair_in(tmp_path / "tls", "entry")
    assert ensure_entry(OWN, paths, NOW)
    first, key, authority = files.certificate.read_bytes(), files.key.read_bytes(), authority_files(paths)
    known = authority.certificate.read_bytes()
    assert not ensure_entry(OWN, paths, NOW + YEAR)
    assert files.certificate.read_bytes() == first
    assert ensure_entry(OWN, paths, NOW + 2 * YEAR)
    assert ensure_entry(OWN.model_copy(update={"url": "https://other.example/"}), paths, NOW + 2 * YEAR)
    assert "other.example" in names_of(read_certificate(files.certificate))
    assert files.key.read_bytes() == key
    assert authority.certificate.read_bytes() == known, "people have imported it"


def test_without_own_tls_nothing_is_made(tmp_path: Path) -> None:
    for text in ("url: http://127.0.0.1/", "url: https://a.example/\ntls: {certificate: c, key: k}"):
        assert not ensure_entry(settings_of(text), StatePaths(tmp_path), NOW)
    assert list(tmp_path.iterdir()) == []


def test_jobs_know_a_sites_certificate_by_its_authority(tmp_path: Path) -> None:
    authority = ensure_authority(pair_in(tmp_path, "site-ca"), "The site", Usage.SERVER, NOW)
    root = certificate_pem(authority.certificate)
    leaf = certificate_pem(authority.issue(make_key().public_key(), "s", ["s.example"], YEAR, NOW))
    chains = {"alone": leaf, "with-root": leaf + root, "self-signed": root}
    for name, chain in chains.items():
        (tmp_path / name).write_bytes(chain)

    def bundle(tls: str) -> str:
        return read_entry_bundle(settings_of(f"url: https://s.example/\ntls: {tls}"), StatePaths(tmp_path))

    assert bundle(f"{{certificate: {tmp_path}/with-root, key: k}}") == root.decode()
    assert bundle(f"{{certificate: {tmp_path}/self-signed, key: k}}") == root.decode()
    assert bundle(f"{{certificate: {tmp_path}/alone, key: k}}") == "", "then the nodes' own authorities are to know it"
    assert bundle(f"{{certificate: {tmp_path}/alone, key: k, ca: {tmp_path}/site-ca.crt}}") == root.decode()
    with pytest.raises(KeyFileError, match="cannot be read"):
        bundle(f"{{certificate: c, key: k, ca: {tmp_path}/missing}}")


def test_the_check_says_what_a_restart_puts_right(tmp_path: Path) -> None:
    paths = StatePaths(tmp_path)
    assert list(check_own(OWN, paths, NOW)) == [], "not started yet"
    ensure_entry(OWN, paths, NOW)
    assert list(check_own(OWN, paths, NOW)) == []
    (trouble,) = check_own(OWN.model_copy(update={"url": "https://new.example/"}), paths, NOW)
    assert "is not for new.example" in trouble.text
    (trouble,) = check_own(OWN, paths, NOW + timedelta(days=799))
    assert "its time ends" in trouble.text
    texts = [trouble.text for trouble in check_own(OWN, paths, NOW + 20 * YEAR)]
    assert any("ca.crt" in text for text in texts)
    authority_files(paths).certificate.write_text("nothing")
    (trouble,) = check_own(OWN, paths, NOW)
    assert "holds no PEM certificate" in trouble.text


# Authorities


def test_processes_that_race_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        fronts = list(pool.map(lambda _: open_front(tmp_path / "tls", NOW), range(8)))
    assert (
        len({front.jobs.certificate.fingerprint(front.jobs.certificate.signature_hash_algorithm) for front in fronts})
        == 1
    )  # type: ignore[arg-type]
    assert fronts[0].jobs.certificate.public_key() == fronts[0].jobs.key.public_key()
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(fronts[0].files.certificate, fronts[0].files.key)
    assert modes(tmp_path / "tls") == {0o600}
    assert not [path for path in (tmp_path / "tls").iterdir() if path.name.startswith(".")]


def test_a_folder_or_key_open_to_others_is_refused(tmp_path: Path) -> None:
    open_front(tmp_path / "tls", NOW)
    (tmp_path / "tls" / "jobs-ca.key").chmod(0o640)
    with pytest.raises(KeyFileError, match="can be read by others"):
        open_front(tmp_path / "tls", NOW)
    (tmp_path / "tls").chmod(0o750)
    with pytest.raises(KeyFileError, match="can be entered by others"):
        open_front(tmp_path / "tls", NOW)


def test_halves_of_two_pairs_are_refused(tmp_path: Path) -> None:
    open_front(tmp_path / "a", NOW)
    open_front(tmp_path / "b", NOW)
    (tmp_path / "a" / "jobs-ca.key").replace(tmp_path / "b" / "jobs-ca.key")
    with pytest.raises(KeyFileError, match="do not belong together"):
        open_front(tmp_path / "b", NOW)


def test_every_authority_signs_for_one_use(tmp_path: Path) -> None:
    paths = StatePaths(tmp_path)
    ensure_entry(OWN, paths, NOW)
    front = open_front(paths.tls, NOW)
    uses = {
        "ca": Usage.SERVER,
        "entry": Usage.SERVER,
        "front-ca": Usage.CLIENT,
        "front": Usage.CLIENT,
        "jobs-ca": Usage.SERVER,
    }
    for stem, use in uses.items():
        certificate = read_certificate(pair_in(paths.tls, stem).certificate)
        assert list(certificate.extensions.get_extension_for_class(ExtendedKeyUsage).value) == [use.value], stem
    assert common_name(front.jobs.certificate) == "Sampan jobs"


# The front and notebooks


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Front:
    return open_front(tmp_path_factory.mktemp("front") / "tls", NOW)


@contextmanager
def notebook(handed: Handed | None, folder: Path) -> Iterator[int]:
    """What listens where a notebook said: a TLS server with what it was handed, or one that speaks no TLS; its port."""
    context = None
    if handed is not None:
        (folder / "c").write_text(handed.certificate)
        (folder / "k").write_text(handed.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "c", folder / "k")
        context.load_verify_locations(cadata=handed.clients)
        context.verify_mode = ssl.CERT_REQUIRED

    def serve() -> None:
        link, _ = listener.accept()
        link.settimeout(5)
        with link:
            try:
                if context is not None:
                    with context.wrap_socket(link, server_side=True) as secure:
                        secure.recv(1)
                else:
                    link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


async def test_a_notebook_is_known_by_its_own_certificate(front: Front, tmp_path: Path) -> None:
    other = open_front(tmp_path / "other", NOW)
    cases = [
        (front.issue(JOB, {"127.0.0.1", "node1"}, NOW), True),
        (front.issue("aaaaaaaa.cccccccccccccccc", {"127.0.0.1"}, NOW), False),
        (front.issue(JOB, {"10.0.0.1", "localhost"}, NOW), False),
        (front.issue(JOB, {"127.0.0.1"}, NOW - 3 * YEAR), False),
        (other.issue(JOB, {"127.0.0.1"}, NOW), False),
        (None, False),
    ]
    for handed, is_proof in cases:
        with notebook(handed, tmp_path) as port:
            assert await front.proves_job("127.0.0.1", port, JOB) is is_proof


async def test_who_cannot_be_asked_proves_nothing(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        closed = silent.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        await front.proves_job("127.0.0.1", closed, JOB)
    monkeypatch.setattr("sampan_hub.trust.front.PROOF_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutError):
        await front.proves_job("127.0.0.1", silent.getsockname()[1], JOB)


def test_certificates_are_never_the_same_twice_and_keys_never_printed(front: Front) -> None:
    one, two = (front.issue(JOB, {"127.0.0.1"}, NOW) for _ in range(2))
    assert one.key != two.key
    assert one.key not in repr(one)
    assert "PRIVATE" not in one.certificate + one.clients
    assert front.clients_certificate.read_text() == one.clients


def test_what_the_proxy_is_given_is_what_was_made(front: Front) -> None:
    folder = front.files.key.parent
    assert front_files(folder) == front.files
    assert jobs_authority_files(folder).certificate == front.jobs_certificate


def test_no_other_authoritys_certificate_passes_for_the_fronts(front: Front, tmp_path: Path) -> None:
    """One of a notebook's, as a client: it is not let in."""
    notebooks = front.issue("x.y", {"127.0.0.1"}, NOW)
    (tmp_path / "n.crt").write_text(notebooks.certificate)
    (tmp_path / "n.key").write_text(notebooks.key)

    async def knock(port: int) -> bytes:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(front.jobs_certificate)
        context.load_cert_chain(tmp_path / "n.crt", tmp_path / "n.key")
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(b"x")
        try:
            return await reader.read(100)
        finally:
            writer.transport.abort()

    with (
        notebook(front.issue(JOB, {"127.0.0.1"}, NOW), tmp_path) as port,
        pytest.raises(OSError, match=r"(?i)alert|reset"),
    ):
        asyncio.run(knock(port))
