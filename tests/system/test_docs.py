"""Every command that the documentation shows, executed: the reader's folder is a clone, the installation a real one.

A fence's language decides. `sh`: run in order, as a reader would. `python`: run in a kernel. `yaml`: settings
that Sampan accepts. `text`: shown only. Anything else is refused, so that nothing escapes by a new tag.
"""

from __future__ import annotations

import getpass
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from ruamel.yaml import YAML

from sampan_hub.settings.defaults import complete
from sampan_hub.settings.load import load_settings
from sampan_hub.settings.machine import detect_machine
from sampan_hub.settings.policy import refusals
from tests.support.installation import Installation
from tests.support.kernels import Kernel
from tests.support.servers import running_server

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/first-steps.md", "docs/operations.md")
KNOWN = {"sh", "text", "python", "yaml", "yaml prometheus", "{toctree}"}
SERVE = "make up"
CLONE = "git clone <this repository> sampan && cd sampan"


@dataclass(frozen=True, slots=True)
class Fence:
    """One fenced block."""

    page: str
    line: int
    tag: str
    text: str


def read_fences(page: str, *tags: str) -> list[Fence]:
    """The blocks of a page, in order; with tags only those."""
    text = (ROOT / page).read_text()
    found = [
        Fence(page, text[: match.start()].count("\n") + 1, match[1].strip(), match[2])
        for match in re.finditer(r"^```(.*)\n((?:(?!```).*\n)*)```$", text, re.MULTILINE)
    ]
    return [fence for fence in found if not tags or fence.tag in tags]


class Reader:
    """Somebody at a terminal, with a clone and what `make up` installs, doing what a page says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clone = folder / "sampan"
        self.site: Installation | None = None
        self.environment = {name: value for name, value in os.environ.items() if name != "SAMPAN_CONFIG"}
        self.environment["USER"] = getpass.getuser()

    def get_clone(self) -> Installation:
        """A clone beside a ready `.venv`, with a port of its own (a cold `make up` is tried elsewhere)."""
        subprocess.run(["git", "clone", "--quiet", ROOT, self.clone], check=True, timeout=60)
        (self.clone / ".venv").symlink_to(sys.prefix)
        self.site = Installation(self.clone)
        self.environment["PATH"] = f"{self.clone}/.venv/bin:{os.environ['PATH']}"
        return self.site

    def do(self, fence: Fence) -> None:
        """Every line of the block, in order; a failed one fails with its page and line."""
        for number, line in enumerate(fence.text.splitlines(), start=fence.line + 1):
            if line.strip() == CLONE:
                self.get_clone()
                continue
            site = self.site or self.get_clone()
            if line.split("#")[0].strip() == SERVE:
                if site.up is not None:
                    site.up.wait(30)
                site.start()
                continue
            command = line.replace("127.0.0.1:8000", f"127.0.0.1:{site.port}")
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", command],
                cwd=self.clone,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=90,
            )
            assert done.returncode == 0, f"{fence.page}:{number}: {command}\n{done.stdout}{done.stderr}"


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    made = Reader(tmp_path)
    yield made
    if made.site is not None:
        made.site.stop()


def test_make_up_is_what_is_done_for_it_here() -> None:
    recipe = re.search(r"^up: install .*\n\t@(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    assert recipe[1] == "exec $(bin)/sampan up"


@pytest.mark.parametrize("name", PAGES)
def test_every_fence_is_of_a_known_kind(name: str) -> None:
    fences = read_fences(name)
    assert fences
    assert (ROOT / name).read_text().count("```") == 2 * len(fences), "a fence that was not understood"
    assert [fence for fence in fences if fence.tag not in KNOWN] == []


@pytest.mark.parametrize("name", [*PAGES, "docs/index.md"])
def test_every_link_and_picture_is_there(name: str) -> None:
    text = (ROOT / name).read_text()
    targets = [match for match in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in match]
    missing = [target for target in targets if not (ROOT / name).parent.joinpath(target).exists()]
    assert missing == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", PAGES)
def test_every_command(name: str, reader: Reader) -> None:
    fences = read_fences(name, "sh")
    assert fences
    if not any(SERVE in fence.text for fence in fences[:1]):
        reader.get_clone().start()  # operations begin where the first steps ended
    for fence in fences:
        reader.do(fence)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", ["README.md", "docs/first-steps.md"])
async def test_every_cell(name: str, tmp_path: Path) -> None:
    fences = read_fences(name, "python")
    assert fences
    with running_server(tmp_path) as server:
        async with aiohttp.ClientSession() as http:
            kernel = await Kernel.start(http, server.url, server.token)
            results = [(await kernel.execute(fence.text, 90)).checked() for fence in fences]
    if name == "docs/first-steps.md":
        assert results[0].value == "5050"


def make_files(folder: Path) -> None:
    """What the settings on the pages refer to."""
    (folder / "tls").mkdir()
    for name in ("tls/certificate.pem", "tls/key.pem", "oidc-secret"):
        (folder / name).write_text("something\n")
        (folder / name).chmod(0o600)
    for name in ("hub-database", "service-database"):
        (folder / name).write_text("postgresql+psycopg://sampan:secret@db.example.org/sampan\n")


@pytest.mark.parametrize("fence", read_fences("docs/operations.md", "yaml"), ids=lambda fence: f"line-{fence.line}")
def test_every_settings_file(fence: Fence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_files(tmp_path)
    (tmp_path / "sampan.yaml").write_text(fence.text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SAMPAN_CONFIG", raising=False)
    assert refusals(complete(load_settings(), detect_machine())) == []


def test_other_yaml_is_yaml() -> None:
    for fence in read_fences("docs/operations.md", "yaml prometheus"):
        assert YAML(typ="safe").load(fence.text)["scrape_configs"]
