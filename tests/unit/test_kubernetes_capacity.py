"""What nodes have, what fits on none, and the settings of a Kubernetes backend that cannot be meant."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sampan_hub.backends.kubernetes.capacity import misfit, parse_amount, parse_node, takes, total_of
from sampan_hub.jobs.model import Resources
from sampan_hub.settings.crossing import jobs_urls
from sampan_hub.settings.defaults import complete
from sampan_hub.settings.load import parse_settings
from sampan_hub.settings.machine import Machine
from sampan_hub.settings.model import Settings
from sampan_hub.settings.pods import pods_refusals
from tests.unit.kubernetes_cases import OWN_NODES, make_settings

GPU = "nvidia.com/mig-3g.20gb"


def node(
    cpu: str = "4", memory: str = "8Gi", *, ready: str = "True", closed: bool = False, **about: Any
) -> dict[str, Any]:
    allocatable = {"cpu": cpu, "memory": memory, "pods": "110", **about.pop("more", {})}
    return {
        "metadata": {"name": "n", "labels": about.pop("labels", {})},
        "spec": {"unschedulable": closed, "taints": about.pop("taints", [])},
        "status": {"allocatable": allocatable, "conditions": [{"type": "Ready", "status": ready}]},
    }


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("2", "2"),
        ("500m", "0.5"),
        ("1.5", "1.5"),
        ("128Mi", str(128 << 20)),
        ("24479284Ki", str(24479284 << 10)),
        ("1k", "1000"),
        ("2G", "2000000000"),
        ("3Ti", str(3 << 40)),
        ("0", "0"),
    ],
)
def test_amounts(text: str, amount: str) -> None:
    assert parse_amount(text) == Decimal(amount)


@pytest.mark.parametrize("text", ["", "-1", "1 Gi", "1KB", "x", "1e3x"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no amount"):
        parse_amount(text)


def test_open_nodes_of_the_right_sort_count() -> None:
    settings = make_settings(node_selector={"pool": "science"})
    nodes = [
        node(labels={"pool": "science"}),
        node(labels={"pool": "science"}, ready="Unknown"),
        node(labels={"pool": "science"}, closed=True),
        node(labels={"pool": "others"}),
        node(labels={"pool": "science"}, taints=[{"key": "a", "effect": "NoSchedule"}]),
        node(labels={"pool": "science"}, taints=[{"key": "a", "effect": "PreferNoSchedule"}]),
    ]
    assert total_of(map(parse_node, nodes), settings) == Resources(8000, 16 << 30)


def test_nodes_that_only_one_size_may_use_count_once_with_its_gpus() -> None:
    labels = {"pool": "science", "gpu": "a100"}
    gpu_node = node(labels=labels, taints=[{"key": "nvidia.com/gpu", "effect": "NoSchedule"}], more={GPU: "4"})
    settings = make_settings(**OWN_NODES)
    assert total_of([parse_node(gpu_node)], settings) == Resources(4000, 8 << 30, 4)
    assert takes(parse_node(gpu_node), settings.placement_of("gpu"))
    assert not takes(parse_node(gpu_node), settings.placement_of("small"))


def test_what_every_node_of_its_sort_is_too_small_for_is_told() -> None:
    placement = make_settings().placement_of("large")
    nodes = [parse_node(node()), parse_node(node("2", "64Gi", closed=True))]
    told = misfit(Resources(4001, 1 << 30), "large", placement, nodes)
    assert told is not None
    assert told.text == "large needs 4.001 cores and 1G; the largest node has 4 cores and 8G. Choose a smaller size."
    assert misfit(Resources(4000, 8 << 30), "large", placement, nodes) is None
    assert misfit(Resources(1000, 64 << 30), "large", placement, nodes) is None, "it may be opened again"
    assert misfit(Resources(1000, 1 << 30, 1), "large", placement, nodes) is not None


def test_where_no_node_of_the_sort_is_there_one_may_be_made() -> None:
    placement = make_settings(**OWN_NODES).placement_of("gpu")
    assert misfit(Resources(10**6, 1 << 50, 8), "gpu", placement, [parse_node(node())]) is None
    assert misfit(Resources(10**6, 1 << 50, 8), "gpu", placement, []) is None


def read(text: str) -> Settings:
    return parse_settings(text.encode(), "sampan.yaml", Path("/site"), {})


PODS = "backends: {pods: {kind: kubernetes, image: i:1, %s}}\nsizes: {small: {cores: 1, memory: 1G}}\n%s"


@pytest.mark.parametrize(
    ("keys", "more", "words"),
    [
        ("ports: {first: 32000, last: 31000}", "", "`first` is above `last`"),
        ("allow: [somewhere]", "", "expected a network such as 10.20.0.0/16, got 'somewhere'"),
        ("tolerations: [{value: x}]", "", "only `operator: Exists` means every taint"),
        ("sizes: {large: {}}", "", "'large' is not one of `sizes` (small)"),
        ("storage: {projects: {q: {}}}", "projects: {p: {}}", "'q' is not one of `projects` (p)"),
    ],
)
def test_what_cannot_be_meant_is_said(keys: str, more: str, words: str) -> None:
    (finding,) = pods_refusals(read(PODS % (keys, more)))
    assert words in str(finding)


def test_pods_and_others_do_not_reach_each_other() -> None:
    text = "backends: {local: {workers_on: [pods]}, pods: {kind: kubernetes, image: i:1, workers_on: [local]}}"
    found = [str(finding) for finding in pods_refusals(read(text))]
    assert len(found) == 2
    assert all("pods have a network of their own" in each for each in found)


def test_an_environment_without_a_prefix_is_in_an_image() -> None:
    pods = read("backends: {pods: {kind: kubernetes, image: i:1}}\nenvironments: {gpu: {image: g:1}}")
    assert pods.environments["gpu"].prefix == Path("/opt/sampan")
    assert list(pods_refusals(pods)) == []
    (finding,) = pods_refusals(read("environments: {gpu: {image: g:1}}"))
    assert "has no `prefix`" in str(finding)


def test_where_all_jobs_are_pods_the_environment_is_the_images() -> None:
    machine = Machine(cores_milli=2000, memory_bytes=4 << 30, prefix=Path("/opt/hub"))
    pods = complete(read("backends: {pods: {kind: kubernetes, image: i:1}}"), machine)
    assert pods.environments["default"].prefix == Path("/opt/sampan")
    both = complete(read("backends: {local: {}, pods: {kind: kubernetes, image: i:1}}"), machine)
    assert both.environments["default"].prefix == Path("/opt/hub/user")


def test_pods_come_in_by_the_clusters_own_name_of_the_entry_at_the_path_of_the_url() -> None:
    text = "url: https://hub.example.org/lab/\nbackends: {%s}"
    pods = "pods: {kind: kubernetes, image: i:1}"
    assert jobs_urls(read(text % pods)) == {"pods": "https://proxy-public/lab/"}
    named = "pods: {kind: kubernetes, image: i:1, reach: 'https://entry:8443/lab/'}"
    assert jobs_urls(read(text % named)) == {"pods": "https://entry:8443/lab/"}
