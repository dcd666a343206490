"""`sampan up` with `tls: own`: browsers take its certificate once they know its authority; other names get another."""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.installation import Installation, wait_until


class OwnTls(Installation):
    """Comes in by HTTPS under the names that a test gives it."""

    def name(self, url: str) -> None:
        lines = (self.folder / "sampan.yaml").read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith(("url:", "listen:", "tls:"))]
        entry = f"url: {url}\nlisten: 127.0.0.1:{self.port}\ntls: own\n"
        (self.folder / "sampan.yaml").write_text(entry + "".join(kept))

    @property
    def authority(self) -> Path:
        return self.state / "tls" / "ca.crt"

    def opens(self, name: str) -> int:
        """The status of the login page for a browser that knows the authority."""
        trust = ssl.create_default_context(cafile=str(self.authority))
        with urllib.request.urlopen(f"https://{name}:{self.port}/hub/login", context=trust, timeout=10) as answer:
            return int(answer.status)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[OwnTls]:
    made = OwnTls(tmp_path / "site")
    made.name(f"https://localhost:{made.port}/")
    yield made
    made.stop()


@pytest.mark.timeout(180)
def test_it_is_known_by_its_authority_under_the_names_of_today(site: OwnTls) -> None:
    assert "is not for" not in site.run("check", check=False).stdout
    site.start()
    assert f"browsers know this site once they know {site.authority}" in site.printed.read_text()
    assert site.opens("localhost") == 200
    with pytest.raises(OSError, match="certificate verify failed"):
        urllib.request.urlopen(f"https://localhost:{site.port}/hub/login", timeout=10)
    authority, before = site.authority.read_bytes(), site.process("proxy")

    site.name(f"https://ip6-localhost:{site.port}/")
    assert "is not for ip6-localhost" in site.run("check", check=False).stdout
    site.run("down")
    assert site.up is not None
    site.up.wait(30)
    site.start()
    assert site.process("proxy") != before
    assert site.authority.read_bytes() == authority, "whoever imported it need not do so again"
    assert site.opens("127.0.0.1") == 200
    wait_until(lambda: "is not for" not in site.run("check", check=False).stdout, 10, "the check is content")
