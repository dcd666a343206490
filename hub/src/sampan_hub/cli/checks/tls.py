"""The certificate: readable, private, matching its key, valid for a while yet."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import datetime, timedelta

from cryptography import x509

from sampan_hub.cli.checks.trouble import Trouble
from sampan_hub.settings.model import Tls

RENEW_BEFORE = timedelta(days=14)


def check_tls(tls: Tls, now: datetime) -> Iterator[Trouble]:
    """What would keep browsers out now or soon, or lets others read the key."""
    try:
        text = tls.certificate.read_bytes()
        mode = tls.key.stat().st_mode
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.key, password=_refuse_password)
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
    if mode & 0o077:
        yield Trouble(f"{tls.key} can be read by others", f"run `chmod 600 {tls.key}`")
    if certificate.not_valid_after_utc < now + RENEW_BEFORE:
        ends = certificate.not_valid_after_utc.date().isoformat()
        verb = "ended" if certificate.not_valid_after_utc < now else "ends"
        yield Trouble(f"{tls.certificate}: its time {verb} on {ends}", "renew it, then restart `sampan up`")
    if certificate.not_valid_before_utc > now:
        begins = certificate.not_valid_before_utc.date().isoformat()
        yield Trouble(f"{tls.certificate} is valid from {begins} only", "set the clock, or take another certificate")


def _refuse_password() -> str:
    """Without it OpenSSL would ask on the terminal."""
    raise ValueError("the key needs a password; nobody is there to type it when Sampan starts")
