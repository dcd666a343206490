"""The keys of a notebook session: one pair for all its clusters, so that every kernel of it can join any of them.

Who holds the key is fully trusted (Dask's messages can carry code), so it lives in the job's private folder, travels
to workers only inside their claim, and dies with the session.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sampan.rundir import ensure_private, write_private

SECRET_CERTIFICATE = "tls-certificate"  # noqa: S105  the name of a claim's secret, not a secret
SECRET_KEY = "tls-key"  # noqa: S105  likewise
CLOCK_LAG = timedelta(hours=1)
LIFETIME = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class Keys:
    """Paths of the session's certificate (its own authority) and private key, PEM, 0600."""

    certificate: Path
    key: Path


def ensure_keys(job_dir: Path) -> Keys:
    """The session's keys in `<job_dir>/tls`, made by whoever needs them first; never half of a pair."""
    final = job_dir / "tls"
    keys = Keys(final / "certificate.pem", final / "key.pem")
    if not final.exists():
        draft = ensure_private(job_dir / f".tls.{os.getpid()}")
        certificate, key = make_pair()
        write_private(draft / keys.certificate.name, certificate)
        write_private(draft / keys.key.name, key)
        try:
            draft.rename(final)
        except OSError:  # another process was first: its pair is the session's
            shutil.rmtree(draft)
    return keys


def make_pair() -> tuple[bytes, bytes]:
    """A self-signed ECDSA certificate and its key, PEM; valid from an hour ago, for clocks that lag."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sampan session")])
    now = datetime.now(UTC)
    public = key.public_key()
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"), False
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_LAG)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True, key_cert_sign=True, encipher_only=False, decipher_only=False, **usage
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def make_security(keys: Keys) -> Any:
    """Dask's `Security` for every role with these keys: nobody without them gets past a handshake."""
    from distributed.security import Security

    certificate, key = str(keys.certificate), str(keys.key)
    roles = {
        f"tls_{role}_{part}": path
        for role in ("client", "scheduler", "worker")
        for part, path in (("cert", certificate), ("key", key))
    }
    return Security(require_encryption=True, tls_ca_file=certificate, **roles)


def make_server_context(keys: Keys) -> ssl.SSLContext:
    """For what is no Dask: serves nobody who does not hold the session's keys."""
    context = _make_context(ssl.PROTOCOL_TLS_SERVER, keys)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def make_client_context(keys: Keys) -> ssl.SSLContext:
    """Talks to nobody who does not hold the session's keys, wherever that is: its certificate names no host."""
    context = _make_context(ssl.PROTOCOL_TLS_CLIENT, keys)
    context.check_hostname = False
    return context


def _make_context(protocol: ssl._SSLMethod, keys: Keys) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(keys.certificate, keys.key)
    context.load_verify_locations(cafile=str(keys.certificate))
    return context


def make_secrets(keys: Keys) -> dict[str, str]:
    """The keys as a worker's claim carries them."""
    return {SECRET_CERTIFICATE: keys.certificate.read_text(), SECRET_KEY: keys.key.read_text()}


def store_secrets(job_dir: Path, secrets: Mapping[str, str]) -> Keys:
    """A worker's side of `make_secrets`: the keys as private files of its own job folder."""
    folder = job_dir / "tls"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    keys = Keys(folder / "certificate.pem", folder / "key.pem")
    write_private(keys.certificate, secrets[SECRET_CERTIFICATE].encode())
    write_private(keys.key, secrets[SECRET_KEY].encode())
    return keys


def dask_environment(keys: Keys) -> dict[str, str]:
    """Lets a plain `Client("tls://…")` of any kernel of this session in: JupyterLab's sidebar writes such lines."""
    prefix = "DASK_DISTRIBUTED__COMM__TLS__"
    return {
        f"{prefix}CA_FILE": str(keys.certificate),
        f"{prefix}CLIENT__CERT": str(keys.certificate),
        f"{prefix}CLIENT__KEY": str(keys.key),
    }
