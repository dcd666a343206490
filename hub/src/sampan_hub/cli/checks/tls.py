"""The certificate: readable, private, matching its key, valid for a while yet."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from sampan_hub.cli.checks.trouble import Trouble
from sampan_hub.settings.keyfiles import KeyFileError
from sampan_hub.settings.model import Settings, Tls
from sampan_hub.settings.paths import StatePaths
from sampan_hub.trust.authority import names_of
from sampan_hub.trust.entry import authority_files, entry_files, entry_names
from sampan_hub.trust.files import read_certificate

RENEW_BEFORE = timedelta(days=14)
REPLACE_AUTHORITY_BEFORE = timedelta(days=365)


def check_tls(tls: Tls, now: datetime, *, has_key: bool = True) -> Iterator[Trouble]:
    """What would keep browsers out now or soon, or lets others read the key (where it `has_key` to look at)."""
    try:
        text = tls.certificate.read_bytes()
        mode = tls.key.stat().st_mode if has_key else 0
        if has_key:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.certificate, tls.key, password=_refuse_password)
        certificate = x509.load_pem_x509_certificates(text)[0]
    except ssl.SSLError as error:
        reason = error.reason or "not PEM"
        yield Trouble(
            f"{tls.certificate} and {tls.key} cannot be used together ({reason})",
            "set `tls` to a PEM certificate and its own PEM key, without a password",
        )
        return
    except (OSError, ValueError) as error:
        yield Trouble(f"the TLS certificate cannot be read: {error}", "set `tls` to files that this user can read")
        return
    if tls.ca is not None:
        yield from _check_authority(tls.ca)
    if mode & 0o077:
        yield Trouble(f"{tls.key} can be read by others", f"run `chmod 600 {tls.key}`")
    if certificate.not_valid_after_utc < now + RENEW_BEFORE:
        ends = certificate.not_valid_after_utc.date().isoformat()
        verb = "ended" if certificate.not_valid_after_utc < now else "ends"
        yield Trouble(f"{tls.certificate}: its time {verb} on {ends}", "renew it, then restart `sampan up`")
    if certificate.not_valid_before_utc > now:
        begins = certificate.not_valid_before_utc.date().isoformat()
        yield Trouble(f"{tls.certificate} is valid from {begins} only", "set the clock, or take another certificate")


def _check_authority(path: Path) -> Iterator[Trouble]:
    try:
        read_certificate(path)
    except KeyFileError as error:
        yield Trouble(f"tls.ca: {error}", "set `ca` to the PEM certificate of the authority, or leave it out")


def check_own(settings: Settings, paths: StatePaths, now: datetime) -> Iterator[Trouble]:
    """With `tls: own`: whether the certificate that Sampan made still fits. None is made yet before the first start."""
    files = entry_files(settings, paths)
    if settings.tls != "own" or files is None or not files.certificate.exists():
        return
    try:
        certificate = read_certificate(files.certificate)
        authority = read_certificate(authority_files(paths).certificate)
    except KeyFileError as error:
        yield Trouble(str(error), "restore the folder `tls` from a backup, or remove it: all jobs must then start anew")
        return
    missing = ", ".join(sorted(entry_names(settings) - names_of(certificate)))
    if missing:
        yield Trouble(f"{files.certificate} is not for {missing}", "restart `sampan up`, which makes another")
    if certificate.not_valid_after_utc < now + RENEW_BEFORE:
        ends = certificate.not_valid_after_utc.date().isoformat()
        yield Trouble(f"{files.certificate}: its time ends on {ends}", "restart `sampan up`, which renews it")
    if authority.not_valid_after_utc < now + REPLACE_AUTHORITY_BEFORE:
        ends = authority.not_valid_after_utc.date().isoformat()
        remedy = "stop all jobs, remove the folder `tls`, restart `sampan up`, and import the new ca.crt"
        yield Trouble(f"{authority_files(paths).certificate}: its time ends on {ends}", remedy)


def _refuse_password() -> str:
    """Without it OpenSSL would ask on the terminal."""
    raise ValueError("the key needs a password; nobody is there to type it when Sampan starts")
