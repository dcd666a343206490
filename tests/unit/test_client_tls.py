"""A service on another machine is known by its certificate, in both ways to call it; a scheduler keeps to its ports."""

from __future__ import annotations

import http.server
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sampan._api import Service, Session
from sampan.errors import NotTheService, SampanError, ServiceUnavailable
from sampan.host.scheduler import SampanScheduler
from sampan.network import listen
from sampan.security import ensure_keys, make_security
from sampan.tls import store_tls


def make_pair(address: str) -> tuple[str, str]:
    """A self-signed certificate for the address, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, form, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return certificate.public_bytes(pem).decode(), key.private_bytes(pem, form, plain).decode()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "13")
        self.end_headers()
        self.wfile.write(b'{"it": "is"} ')

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Clients that go away at the handshake are what this is about."""


@contextmanager
def serving(folder: Path, address: str) -> Iterator[tuple[str, str]]:
    """A service over TLS: its URL, and the certificate by which it is known."""
    certificate, key = make_pair(address)
    (folder / "c").write_text(certificate)
    (folder / "k").write_text(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "c", folder / "k")
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}/services/sampan", certificate
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def test_it_is_believed_by_the_certificate_that_was_handed_over(tmp_path: Path) -> None:
    with serving(tmp_path, "127.0.0.1") as (url, certificate):
        known = Service(url, "secret", ca=certificate)
        assert known.call("GET", "/whoami") == {"it": "is"}
        assert await known.call_async("GET", "/whoami") == {"it": "is"}
        credential, ca = tmp_path / "credential", tmp_path / "ca.pem"
        credential.write_text("secret")
        ca.write_text(certificate)
        assert Session(url, "job", credential, tmp_path, ca_file=ca).connect().call("GET", "/whoami") == {"it": "is"}
        assert certificate not in repr(known)


@pytest.mark.parametrize("made_for", ["127.0.0.1", "192.0.2.1"])
async def test_somebody_else_is_not_believed_and_not_asked_again(tmp_path: Path, made_for: str) -> None:
    with serving(tmp_path, made_for) as (url, certificate):
        ca = certificate if made_for != "127.0.0.1" else make_pair("127.0.0.1")[0]
        for each in (Service(url, "secret", ca=ca), Service(url, "secret")):
            with pytest.raises(NotTheService, match="is not the compute service"):
                each.call_patiently("GET", "/whoami", patience_s=3600)
            with pytest.raises(NotTheService):
                await each.call_async("GET", "/whoami")


def test_nobody_there_may_still_come() -> None:
    with listen("127.0.0.1", None) as closed:
        url = f"https://127.0.0.1:{closed.getsockname()[1]}/services/sampan"
    with pytest.raises(ServiceUnavailable) as caught:
        Service(url, "secret").call("GET", "/whoami", timeout_s=5)
    assert not isinstance(caught.value, NotTheService)


def test_what_a_notebook_serves_with_is_its_owners_alone(tmp_path: Path) -> None:
    certificate, key = make_pair("127.0.0.1")
    tls = store_tls(tmp_path, {"certificate": certificate, "key": key, "clients": certificate})
    assert tls.key.parent.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in tls.key.parent.iterdir()} == {0o600}
    context = tls.make_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


async def test_a_scheduler_listens_in_its_range(tmp_path: Path) -> None:
    security = make_security(ensure_keys(tmp_path))
    with listen("127.0.0.1", None) as taken:
        port = taken.getsockname()[1]
        options = {"host": "tls://127.0.0.1", "port": 0, "security": security, "dashboard_socket": tmp_path / "d.sock"}
        async with SampanScheduler(ports=(port, port + 9), **options) as scheduler:
            found = int(scheduler.address.rpartition(":")[2])
            assert port < found <= port + 9
        with pytest.raises(Exception, match=r"is taken|failed to start") as caught:
            await SampanScheduler(ports=(port, port), **options)
        assert isinstance(caught.value.__cause__ or caught.value, SampanError)
