"""The chart as Helm renders it, without a cluster: for tests of what it says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "sampan"
BUILT = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sampan-kube-testbed" / "bin"
"""Where the testbed's build leaves kubectl and helm."""
NAMESPACE = "science"
URL = "https://hub.example.org/"
SITE: dict[str, Any] = {"image": {"registry": "registry.example.org"}, "config": {"url": URL}}


class HelmRefused(Exception):
    """What Helm said."""


def find_tool(name: str) -> str:
    found = shutil.which(name, path=f"{BUILT}:{os.environ['PATH']}")
    if found is None:
        raise FileNotFoundError(f"{name} is missing: tests/testbeds/kube/build.sh builds it")
    return found


def merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """As Helm lays one file of values over another."""
    result = dict(values)
    for key, value in changes.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return result


@dataclass(frozen=True, slots=True)
class Rendered:
    """All objects of one rendering."""

    objects: list[dict[str, Any]] = field(repr=False)

    def one(self, kind: str, name: str) -> dict[str, Any]:
        (found,) = (each for each in self.objects if (each["kind"], each["metadata"]["name"]) == (kind, name))
        return found

    def has(self, kind: str, name: str) -> bool:
        return any((each["kind"], each["metadata"]["name"]) == (kind, name) for each in self.objects)

    def kinds(self) -> set[str]:
        return {each["kind"] for each in self.objects}

    def pods(self) -> dict[str, dict[str, Any]]:
        """By kind and name of what makes them: each pod's specification, with its metadata as `metadata`."""
        found = {}
        for each in self.objects:
            template = each if each["kind"] == "Pod" else each.get("spec", {}).get("template")
            if template is not None:
                name = f"{each['kind']}/{each['metadata']['name']}"
                found[name] = {**template["spec"], "metadata": template.get("metadata", {})}
        return found

    def settings(self) -> dict[str, Any]:
        """The sampan.yaml of hub and service."""
        text = self.one("Secret", "sampan-config")["stringData"]["sampan.yaml"]
        loaded = YAML(typ="safe").load(text)
        assert isinstance(loaded, dict)
        return loaded


def render(*changes: dict[str, Any], site: dict[str, Any] = SITE) -> Rendered:
    """`helm template` with a site's values and these over them; raises HelmRefused."""
    values = site
    for each in changes:
        values = merged(values, each)
    argv = [find_tool("helm"), "template", "sampan", str(CHART), "--namespace", NAMESPACE, "--values", "-"]
    done = subprocess.run(argv, input=json.dumps(values), capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise HelmRefused(done.stderr)
    return Rendered([each for each in YAML(typ="safe").load_all(done.stdout) if each])
