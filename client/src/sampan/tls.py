"""What a notebook on another machine serves with: its certificate of this very claim, and whom it lets in."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sampan.rundir import ensure_private, write_private


@dataclass(frozen=True, slots=True)
class NotebookTls:
    """Files, 0600, in the job's private folder."""

    certificate: Path
    key: Path
    clients: Path
    """The authority whose certificates may connect: those of proxy, hub and service, and nobody else's."""

    def make_context(self) -> ssl.SSLContext:
        """For the server: who shows no certificate of the front is sent away before a word of HTTP."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate, self.key)
        context.load_verify_locations(cafile=str(self.clients))
        context.verify_mode = ssl.CERT_REQUIRED
        return context


def store_tls(folder: Path, handed: Mapping[str, str]) -> NotebookTls:
    """The claim's `tls` as files of the job's private folder."""
    own = ensure_private(folder / "serving")
    files = NotebookTls(own / "certificate.pem", own / "key.pem", own / "clients.pem")
    write_private(files.certificate, handed["certificate"].encode())
    write_private(files.key, handed["key"].encode())
    write_private(files.clients, handed["clients"].encode())
    return files
