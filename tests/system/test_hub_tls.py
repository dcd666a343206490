"""Over TLS, as another machine would come in: the link, secure cookies, a server."""

from __future__ import annotations

import getpass
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sampan_hub.identity.links import make_link
from tests.system.hub_fixtures import Site

NAME = getpass.getuser()


def make_certificate(folder: Path) -> None:
    """A self-signed certificate for `localhost`, in the files the settings name."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    key_file = folder / "key.pem"
    key_file.touch(0o600)
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


@pytest.mark.timeout(120)
async def test_a_link_over_tls_sets_secure_cookies(tmp_path: Path) -> None:
    site = Site(tmp_path, "tls: {certificate: certificate.pem, key: key.pem}\n", scheme="https")
    make_certificate(tmp_path)
    try:
        site.start("proxy", "hub")
        trust = ssl.create_default_context(cafile=str(tmp_path / "certificate.pem"))
        url = f"https://localhost:{site.ports['public']}"
        secret = make_link(site.paths, NAME, "once")
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
            async with session.get(f"{url}/hub/link?token={secret}", allow_redirects=False) as answer:
                assert answer.status == 302
                assert answer.headers["Location"].startswith("/")
                cookies = answer.headers.getall("Set-Cookie")
            assert cookies
            assert all("secure" in cookie.lower() for cookie in cookies), cookies
            async with session.get(f"{url}/hub/home") as answer:
                assert answer.url.path == "/hub/home"
        assert secret not in site.log("hub") + site.log("proxy")
    finally:
        site.stop()
