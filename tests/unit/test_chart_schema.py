"""The chart's values: what is committed is what the models make, and what Helm's schema lets in and refuses."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from tools.chart.render import render_values
from tools.chart.schema import make_values_schema
from tools.chart.values import NO_IMAGE, NO_URL

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "sampan"
SCHEMA = json.loads((CHART / "values.schema.json").read_text("utf-8"))
VALUES = YAML(typ="safe").load((CHART / "values.yaml").read_text("utf-8"))
SITE = {"image": {"registry": "registry.example.org"}, "config": {"url": "https://hub.example.org/"}}


def merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """As Helm lays a site's values over the chart's."""
    result = copy.deepcopy(values)
    for key, value in changes.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return result


def errors_of(*changes: dict[str, Any]) -> list[str]:
    values = VALUES
    for each in changes:
        values = merged(values, each)
    validator = jsonschema.Draft7Validator(SCHEMA)
    return [leaf.message for error in validator.iter_errors(values) for leaf in leaves(error)]


def leaves(error: jsonschema.ValidationError) -> Iterator[jsonschema.ValidationError]:
    if not error.context:
        yield error
    for inner in error.context or ():
        yield from leaves(inner)


def test_the_committed_files_are_what_the_models_make() -> None:
    assert (CHART / "values.yaml").read_text("utf-8") == render_values(), "run `make chart`"
    assert make_values_schema() == SCHEMA, "run `make chart`"


def test_the_schema_is_one_that_every_helm_3_reads() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    text = json.dumps(SCHEMA)
    assert "$defs" not in text
    for pattern in re.findall(r'"pattern": "([^"]*)"', text):
        assert not re.search(r"\(\?[=!<]", pattern), f"Go's expressions cannot look around: {pattern}"


def test_the_chart_has_the_version_of_what_it_installs() -> None:
    chart = YAML(typ="safe").load((CHART / "Chart.yaml").read_text("utf-8"))
    for package in ("hub", "client"):
        version = tomllib.loads((ROOT / package / "pyproject.toml").read_text("utf-8"))["project"]["version"]
        assert (chart["version"], chart["appVersion"]) == (version, version)


def test_image_and_address_are_enough() -> None:
    assert errors_of(SITE) == []


def test_without_an_image_or_an_address_the_schema_says_what_to_do() -> None:
    assert any(NO_IMAGE in message for message in errors_of({"config": SITE["config"]}))
    assert any(NO_URL in message for message in errors_of({"image": SITE["image"]}))
    assert any(NO_IMAGE in message for message in errors_of(SITE, {"image": {"registry": None}}))


@pytest.mark.parametrize(
    "change",
    [
        {"hubs": {}},
        {"hub": {"resource": {}}},
        {"hub": {"image": {"name": "x"}}},
        {"proxy": {"service": {"typ": "NodePort"}}},
        {"proxy": {"service": {"type": "Nodeport"}}},
        {"hub": {"tolerations": [{"kee": "x"}]}},
        {"config": {"urls": "https://x.example/"}},
        {"config": {"sizes": {"small": {"core": 1}}}},
        {"config": {"backends": {"kubernetes": {"images": "x"}}}},
        {"config": {"backends": {"kubernetes": {"kind": "kubernets"}}}},
        {"config": {"backends": {"kubernetes": {"storage": {"home": {"sise": "1G"}}}}}},
        {"config": {"login": "dummy"}},
        {"config": {"state_dir": "/srv/sampan"}},
        {"singleuser": {"image": {"repository": ""}}},
    ],
    ids=json.dumps,
)
def test_what_is_misspelled_is_refused(change: dict[str, Any]) -> None:
    assert errors_of(SITE, change)


@pytest.mark.parametrize(
    "change",
    [
        {"global": {"storageClass": "fast"}},
        {"config": {"backends": {"kubernetes": {"image": "registry.example.org/mine:1"}}}},
        {"config": {"database": {"file": "secrets/database-url"}}, "postgresql": {"enabled": False}},
        {"config": {"sizes": {"gpu": {"cores": 8, "memory": "64G", "gpus": 1, "price_per_hour": 1.25}}}},
        {"config": {"login": {"class": "x.Y", "config": {"client_secret": {"file": "secrets/oidc"}, "scope": ["a"]}}}},
        {"proxy": {"service": {"type": "NodePort", "nodePorts": {"https": 30443}}}},
        {"hub": {"resources": {"limits": {"cpu": 2, "memory": "1.5Gi"}}, "nodeSelector": {"pool": "core"}}},
        {"hub": {"tolerations": [{"key": "core", "operator": "Exists", "effect": "NoSchedule"}]}},
        {"ingress": {"enabled": True, "tls": [{"hosts": ["h.example"], "secretName": "h"}]}},
    ],
    ids=json.dumps,
)
def test_what_sites_write_is_let_in(change: dict[str, Any]) -> None:
    assert errors_of(SITE, change) == []
