"""The commands of docs/kubernetes.md, in order, on the real cluster; and all values that it shows, through Helm.

What differs from a reader's: the namespace and the address are of this test, and images lie on the nodes already
(`make images push` is run by `test_images.py`).
"""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.kube.chart import ROOT, merged, render
from tests.kube.chart_rig import NAME, SMALL, Release
from tests.kube.conftest import REGISTRY, Images
from tests.kube.test_chart import judged
from tests.testbeds.kube.cluster import KubeCluster

PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
NAMESPACE, HOST = "science", "https://hub.example.org/"
MOST_COMMANDS = 10
ELSEWHERE = {"make images push REGISTRY=registry.example.org/science"}
"""Commands of the page that another test runs."""


def fences(tag: str) -> list[str]:
    return re.findall(rf"^```{tag}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    return [line for block in fences("bash") for line in block.splitlines()]


def test_the_page_has_no_other_kind_of_block_and_no_more_commands_than_it_promises() -> None:
    assert PAGE.count("```") == 2 * (len(fences("bash")) + len(fences("yaml")))
    assert len(commands()) <= MOST_COMMANDS, commands()
    makefile = (ROOT / "Makefile").read_text()
    for line in ELSEWHERE:
        assert line in commands()
        assert re.search(r"^images:", makefile, re.MULTILINE)


@pytest.mark.parametrize("block", fences("yaml"), ids=lambda block: block.split("\n")[0])
def test_values_on_the_page_are_taken_by_helm_and_by_sampan(block: str, tmp_path: Path) -> None:
    for name in ("client-secret", "database-url", "hub-database-url"):
        (tmp_path / "secrets").mkdir(exist_ok=True)
        (tmp_path / "secrets" / name).write_text("postgresql+psycopg://sampan@db.example.org/x")
    assert judged(render(YAML(typ="safe").load(block)), tmp_path) == []


class Reader:
    """Somebody in the clone's folder, with `my.yaml` and a kubectl that reaches the cluster."""

    def __init__(self, kube: KubeCluster, namespace: str, folder: Path) -> None:
        self.kube, self.namespace, self.folder = kube, namespace, folder
        self.release = Release(kube, namespace, REGISTRY)
        (folder / "helm").symlink_to(ROOT / "helm")
        first = YAML(typ="safe").load(fences("yaml")[0])
        values = merged(merged(SMALL, first), self.release.values)
        (folder / "my.yaml").write_text(json.dumps(values))

    def type(self, line: str) -> str:
        """One line of the page; what it printed."""
        command = line.replace(f" {NAMESPACE}", f" {self.namespace}")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.folder,
            env=self.kube.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=400,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}\n{self.release.describe()}"
        return done.stdout


def steps_back() -> list[str]:
    """The two commands that restore a backup, which the page has in a list of their own."""
    found = re.findall(r"^\d\. `([^`]+)`", PAGE, re.MULTILINE)
    assert ["restore" in found[0], "restart" in found[1], len(found)] == [True, True, 2]
    return found


def put_back(reader: Reader) -> None:
    """What came after the backup is gone, and what it has is there."""
    reader.release.sampan("user", "add", "later")
    for line in steps_back():
        reader.type(line)
    reader.release.wait_until_ready()
    people = reader.release.sampan("user", "list").split()
    assert "ana" in people
    assert "later" not in people


@pytest.fixture
def reader(kube: KubeCluster, images: Images, tmp_path: Path) -> Iterator[Reader]:
    assert images.hub.startswith(REGISTRY)
    with kube.namespace("e-docs") as namespace:
        kube.kubectl("delete", "namespace", namespace, "--timeout=60s")  # its name is free: the page makes it
        made = Reader(kube, namespace, tmp_path)
        yield made
        made.release.helm("uninstall", NAME, "--ignore-not-found", "--no-hooks")
        made.release.close()


@pytest.mark.timeout(600)
def test_every_command_does_what_the_page_says(reader: Reader) -> None:
    said: dict[str, str] = {}
    for line in commands():
        if line not in ELSEWHERE:
            said[line] = reader.type(line)
        if "sampan backup" in line:
            put_back(reader)
    ordered = list(said)
    assert HOST not in said[next(line for line in ordered if "user add" in line)]
    assert "token=" in said[next(line for line in ordered if "user add" in line)]
    check = said[next(line for line in ordered if "sampan check" in line)]
    assert check.splitlines()[-1] == "no findings"
    assert "workers on kubernetes do not see homes" in check, "as the page says of ReadWriteOnce, which is the default"
    (backup,) = reader.folder.glob("sampan-*.tar")
    with tarfile.open(backup) as tar:
        assert {"manifest.json", "keys/signing.key"} <= set(tar.getnames())
    gone = said[next(line for line in ordered if "uninstall" in line)]
    assert "sampan-state" in gone, "what stays is said"
    claims = {each["metadata"]["name"] for each in reader.release.get("pvc")["items"]}
    assert claims == {"sampan-state", "data-postgresql-0"}
