"""Where everything in the state folder lies. Pure: nothing is created here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class StatePaths:
    """The state folder of one installation (`state_dir`, 0700)."""

    root: Path

    @property
    def instance(self) -> Path:
        return self.root / "instance"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def links(self) -> Path:
        return self.root / "links"

    @property
    def jobs(self) -> Path:
        return self.root / "jobs"

    @property
    def tls(self) -> Path:
        """Our own certificate authorities, what they sign, and the keys of both."""
        return self.root / "tls"

    @property
    def first_logins(self) -> Path:
        """One mark per person who has been shown the examples."""
        return self.root / "first-logins"

    @property
    def hub_sqlite(self) -> Path:
        return self.root / "hub.sqlite"

    @property
    def sampan_sqlite(self) -> Path:
        return self.root / "sampan.sqlite"

    def key(self, name: str) -> Path:
        """A secret file: service.key, signing.key, secrets.key, hub-cookie, proxy-token, service-token, cli-token."""
        return self.keys / name
