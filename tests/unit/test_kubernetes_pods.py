"""Pods, claims and policies: compared whole, and held to what every one of them must be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sampan_hub.backends.kubernetes.pod import make_pod
from sampan_hub.backends.kubernetes.volumes import make_claims
from sampan_hub.jobs.model import Kind
from tests.unit.kubernetes_cases import SHARED_HOMES, make_cases, make_identity, make_settings, make_spec

GOLDEN = Path(__file__).with_name("kubernetes_golden")
CASES = make_cases()
PODS = {name: case for name, case in CASES.items() if isinstance(case, dict) and case["kind"] == "Pod"}


@pytest.mark.parametrize("name", CASES)
def test_what_is_made_is_exactly_what_is_written_down(name: str) -> None:
    assert json.loads((GOLDEN / f"{name}.json").read_text()) == CASES[name]


def test_every_file_has_its_case() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == set(CASES)


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_no_more_rights_than_the_restricted_standard_gives(name: str) -> None:
    spec = PODS[name]["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    allowed = {"persistentVolumeClaim", "emptyDir", "projected"}
    assert all(set(volume) - {"name"} <= allowed for volume in spec["volumes"])
    assert spec["automountServiceAccountToken"] is False
    assert container["resources"]["requests"] == container["resources"]["limits"]


@pytest.mark.parametrize("name", PODS)
def test_nothing_that_a_pod_shows_is_a_secret(name: str) -> None:
    shown = json.dumps(PODS[name])
    assert "credential" not in shown
    assert "secretKeyRef" not in shown
    sources = [volume["projected"]["sources"] for volume in PODS[name]["spec"]["volumes"] if "projected" in volume]
    assert sources == [[{"serviceAccountToken": {"audience": "sampan", "expirationSeconds": 3600, "path": "token"}}]]


def test_with_a_home_of_one_node_only_notebooks_have_it_and_come_to_one_node() -> None:
    for kind in Kind:
        spec = make_spec(make_identity(kind))
        pod = make_pod(spec, make_settings(), {})
        claims = [volume for volume in pod["spec"]["volumes"] if "persistentVolumeClaim" in volume]
        assert bool(claims) == (kind is Kind.NOTEBOOK)
        assert bool(list(make_claims(spec.identity, make_settings().storage))) == (kind is Kind.NOTEBOOK)
        assert ("affinity" in pod["spec"]) == (kind is Kind.NOTEBOOK), "workers are never pinned"


def test_with_a_shared_home_everybody_has_it_and_nobody_is_pinned() -> None:
    for kind in Kind:
        pod = make_pod(make_spec(make_identity(kind)), make_settings(**SHARED_HOMES), {})
        assert any("persistentVolumeClaim" in volume for volume in pod["spec"]["volumes"])
        assert "affinity" not in pod["spec"]


def test_a_notebook_looks_for_the_node_of_its_own_home_alone() -> None:
    pod = make_pod(make_spec(make_identity(Kind.NOTEBOOK)), make_settings(), {})
    ((term,),) = pod["spec"]["affinity"]["podAffinity"].values()
    (label,) = term["labelSelector"]["matchLabels"].items()
    assert label in pod["metadata"]["labels"].items(), "the first one matches itself, so it may go anywhere"


def test_what_a_job_is_given_reaches_it_as_it_is() -> None:
    container: Any = CASES["tricky"]["spec"]["containers"][0]
    given = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert given["A"] == "$$(B) $$$$"
    assert given["HOME"] == "/home/user"
    assert [variable["name"] for variable in container["env"]].count("SAMPAN_RUN") == 1
    assert container["command"] == ["sh", "-c", "echo $$(HOME) $$$$"]
