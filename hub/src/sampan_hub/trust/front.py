"""The way from proxy, hub and service to notebooks on other hosts: each side shows who it is, and takes nobody else."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from sampan_hub.trust.authority import (
    AUTHORITY_LIFETIME,
    Authority,
    AuthorityKind,
    Usage,
    certificate_pem,
    common_name,
    key_pem,
    make_key,
)
from sampan_hub.trust.files import Pair, ensure_authority, ensure_certificate, ensure_folder, pair_in

CLIENTS = AuthorityKind("front-ca", "Sampan front", Usage.CLIENT)
JOBS = AuthorityKind("jobs-ca", "Sampan jobs", Usage.SERVER)
JOB_LIFETIME = timedelta(days=400)
"""Of a notebook's certificate: longer than any notebook runs."""
FRONT_RENEW_BEFORE = timedelta(days=365)
PROOF_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Handed:
    """What a notebook is handed at its claim, PEM: its certificate, its key, and whose certificates it lets in."""

    certificate: str
    key: str = field(repr=False)
    clients: str


@dataclass(frozen=True, slots=True)
class Front:
    """The front's own certificate and the authority for notebooks. All methods are safe from any thread."""

    files: Pair
    """The client certificate that proxy, hub and service show."""
    clients_certificate: Path
    """The authority of `files`, which notebooks are given."""
    jobs_certificate: Path
    """The authority of notebooks' certificates, which the front asks for."""
    jobs: Authority

    def issue(self, job_id: str, names: Collection[str], now: datetime) -> Handed:
        """A certificate that proves to be this job at these host names and addresses; each call makes a new key."""
        key = make_key()
        certificate = self.jobs.issue(key.public_key(), job_id, sorted(names), JOB_LIFETIME, now)
        return Handed(
            certificate_pem(certificate).decode(), key_pem(key).decode(), self.clients_certificate.read_text()
        )

    def make_context(self) -> ssl.SSLContext:
        """How to connect to a notebook: shows the front's certificate, and takes only what `issue` made for it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(cafile=str(self.jobs_certificate))
        context.load_cert_chain(self.files.certificate, self.files.key)
        return context

    async def proves_job(self, host: str, port: int, job_id: str) -> bool:
        """Whether who answers there holds the certificate that was issued to this very job for this very host.

        False: somebody else answers, or nobody who speaks TLS. Raises OSError (TimeoutError too) when nothing could be
        found out in five seconds: nobody answers, or not yet.
        """
        try:
            async with asyncio.timeout(PROOF_TIMEOUT_S):
                _, writer = await asyncio.open_connection(host, port, ssl=self.make_context())
        except ssl.SSLError:
            return False
        try:
            shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()
        return common_name(x509.load_der_x509_certificate(shown)) == job_id


def front_files(folder: Path) -> Pair:
    """The certificate and key that proxy, hub and service show to notebooks."""
    return pair_in(folder, "front")


def jobs_authority_files(folder: Path) -> Pair:
    """The authority that signs notebooks' certificates."""
    return pair_in(folder, JOBS.stem)


def clients_authority_files(folder: Path) -> Pair:
    """The authority that signs what the front shows."""
    return pair_in(folder, CLIENTS.stem)


def open_front(folder: Path, now: datetime) -> Front:
    """The front of the installation that keeps its certificates here, made if there is none. Raises KeyFileError."""
    ensure_folder(folder)
    clients_files, jobs_files = clients_authority_files(folder), jobs_authority_files(folder)
    clients = ensure_authority(clients_files, CLIENTS.name, CLIENTS.usage, now)
    jobs = ensure_authority(jobs_files, JOBS.name, JOBS.usage, now)
    files = front_files(folder)
    ensure_front_certificate(files, clients, now)
    return Front(files, clients_files.certificate, jobs_files.certificate, jobs)


def ensure_front_certificate(files: Pair, clients: Authority, now: datetime) -> None:
    """What the front shows, signed by this authority."""
    ensure_certificate(
        files,
        clients,
        "sampan front",
        (),
        lifetime=AUTHORITY_LIFETIME,
        renew_before=FRONT_RENEW_BEFORE,
        now=now,
    )
