"""The main job, as a person does it: link, size, JupyterLab, cells, a cluster, stop."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.judge.processes import processes_with_key
from tests.support.installation import Installation, wait_until

START_MS = 60_000


def printed_link(installation: Installation) -> str:
    links = re.findall(r"http://\S+token=\S+", installation.printed.read_text())
    assert len(links) == 1, links
    return links[0]


def run_cell(page: Page, code: str) -> None:
    """Type into the selected (last, empty) cell of the open notebook and run it."""
    cell = page.locator(".jp-Notebook .jp-CodeCell").last.locator(".cm-content")
    cell.click()
    page.keyboard.insert_text(code)
    expect(cell).to_contain_text(code.splitlines()[0])
    page.keyboard.press("Shift+Enter")


@pytest.mark.timeout(240)
def test_link_size_lab_cells_cluster_stop(page: Page, installation: Installation, screenshots: Path) -> None:
    # The link logs in once, and leads to the choice of a size.
    page.goto(printed_link(installation))
    expect(page.get_by_role("button", name=re.compile("start", re.I))).to_be_visible()
    page.screenshot(path=screenshots / "1-choose-size.png")

    # A server starts, and JupyterLab is there, with the first notebook open.
    page.get_by_role("button", name=re.compile("start", re.I)).click()
    expect(page.locator(".lm-TabBar-tab", has_text="start.ipynb")).to_be_visible(timeout=START_MS)
    page.goto(f"{page.url.partition('/lab')[0]}/lab?reset")
    launcher = page.locator(".jp-LauncherCard[data-category='Notebook']").first
    expect(launcher).to_be_visible(timeout=START_MS)
    page.screenshot(path=screenshots / "2-jupyterlab.png")

    # Cells run, and one of them makes a cluster whose workers answer.
    launcher.click()
    expect(page.locator(".jp-Notebook .jp-CodeCell")).to_be_visible()
    expect(page.get_by_role("button", name="Python 3 (ipykernel) | Idle")).to_be_visible(timeout=30_000)
    run_cell(page, "6 * 7")
    expect(page.locator(".jp-OutputArea-output", has_text="42")).to_be_visible(timeout=30_000)
    run_cell(
        page,
        "from sampan import Cluster\ncluster = Cluster(2)\nclient = cluster.get_client()\n"
        "print('sum', client.submit(sum, range(10)).result())",
    )
    expect(page.locator(".jp-OutputArea-output", has_text="sum 45")).to_be_visible(timeout=60_000)
    run_cell(page, "cluster")
    page.wait_for_timeout(1500)  # lets the widget draw itself before its picture is taken; nothing depends on it
    page.screenshot(path=screenshots / "3-cluster.png")
    assert processes_with_key(installation.instance)

    # Stopping from the hub's page leaves no process behind.
    page.goto(f"{installation.url}/hub/home")
    page.locator("#stop").click()
    expect(page.locator("#start")).to_have_text(re.compile("Start My Server"), timeout=30_000)
    page.screenshot(path=screenshots / "4-stopped.png")
    wait_until(lambda: not processes_with_key(installation.instance), 30, "every process with a job key ends")


def test_a_spent_link_names_the_command(page: Page, installation: Installation, screenshots: Path) -> None:
    link = printed_link(installation)
    page.goto(link)
    page.context.clear_cookies()
    page.goto(link)
    expect(page.locator("body")).to_contain_text("sampan link")
    page.screenshot(path=screenshots / "5-spent-link.png")
