"""A site shows people a certificate of its own; pods come in all the same, by a name that it is not for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sampan_hub.trust.authority import Usage
from sampan_hub.trust.files import ensure_authority, ensure_certificate, pair_in
from tests.kube.chart_rig import NAME, RESTRICTED, Release
from tests.kube.conftest import REGISTRY, Images
from tests.support.person import Person
from tests.testbeds.kube.cluster import KubeCluster

SECRET = "site-tls"


class Shown(Release):
    """Known by the site's authority, as people's browsers know it."""

    known_by = ""

    @property
    def authority(self) -> str:
        return self.known_by


@pytest.mark.timeout(600)
def test_people_see_the_sites_certificate_and_pods_come_in_by_ours(
    kube: KubeCluster, images: Images, tmp_path: Path
) -> None:
    assert images.hub.startswith(f"{REGISTRY}/")
    with kube.namespace("e-tls", labels=RESTRICTED) as namespace:
        release = Shown(kube, namespace, REGISTRY, {"proxy": {"https": {"secret": {"name": SECRET}}}})
        now, day = datetime.now(UTC), timedelta(days=1)
        authority = ensure_authority(pair_in(tmp_path, "site-ca"), "site", Usage.SERVER, now)
        files = pair_in(tmp_path, "site")
        names = [kube.NODE_IP]
        ensure_certificate(files, authority, "site", names, lifetime=day, renew_before=day / 2, now=now)
        words = ("create", "secret", "tls", SECRET, f"--cert={files.certificate}", f"--key={files.key}")
        release.kubectl(*words)
        release.known_by = (tmp_path / "site-ca.crt").read_text()
        try:
            release.install()
            release.helm("test", NAME, "--timeout=2m")
            notebook = Person(release, "alice").start(timeout_s=200)
            assert notebook.run("print(6 * 7)").strip() == "42"
        finally:
            release.close()
            release.helm("uninstall", NAME, "--ignore-not-found", "--wait", "--timeout=3m")
