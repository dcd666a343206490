"""What the chart says, rendered by Helm: nothing here needs a cluster."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan_hub.settings.defaults import complete
from sampan_hub.settings.load import parse_settings
from sampan_hub.settings.machine import detect_machine
from sampan_hub.settings.policy import refusals, warnings
from tests.kube.chart import CHART, NAMESPACE, SITE, HelmRefused, Rendered, find_tool, merged, render
from tools.chart.values import NO_IMAGE, NO_URL

EVERYTHING: dict[str, Any] = {
    "imagePullSecrets": ["registry"],
    "existingSecret": "site-secrets",
    "hub": {"pdb": {"enabled": True}, "extraEnv": {"HTTPS_PROXY": "http://proxy.example:3128"}},
    "proxy": {"https": {"secret": {"name": "site-tls", "ca": "ca.crt"}}, "service": {"type": "ClusterIP"}},
    "ingress": {"enabled": True, "ingressClassName": "nginx"},
    "serviceMonitor": {"enabled": True, "token": {"name": "prometheus"}},
    "prePuller": {"extraImages": ["registry.example.org/gpu:1"]},
}
TIGHT = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def containers(pod: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from pod.get("initContainers", ())
    yield from pod["containers"]


def mounts(pod: dict[str, Any], name: str) -> dict[str, str]:
    (container,) = (each for each in containers(pod) if each["name"] == name)
    return {each["mountPath"]: each["name"] for each in container["volumeMounts"]}


def judged(rendered: Rendered, folder: Path) -> list[str]:
    """What Sampan itself says of the settings that hub and service would get."""
    for name in ("keys/database-url", "keys/hub-database-url"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("postgresql+psycopg://sampan@postgresql/sampan")
    text = rendered.one("Secret", "sampan-config")["stringData"]["sampan.yaml"]
    image = {"NOTEBOOK_IMAGE": "registry.example.org/sampan/notebook:1"}
    settings = complete(parse_settings(text.encode(), "sampan.yaml", folder, image), detect_machine())
    return [str(finding) for finding in (*refusals(settings), *warnings(settings))]


def test_helm_finds_nothing_to_say_of_it() -> None:
    argv = [find_tool("helm"), "lint", "--strict", "--quiet", str(CHART)]
    argv += ["--set", "image.registry=registry.example.org", "--set", "config.url=https://hub.example.org/"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_installation_without_an_image_or_an_address_is_told_what_to_set() -> None:
    with pytest.raises(HelmRefused) as refused:
        render(site={})
    assert NO_IMAGE in str(refused.value)
    assert NO_URL in str(refused.value)


def test_an_unknown_key_of_values_or_of_the_settings_is_refused_by_helm() -> None:
    for change in ({"hubb": {}}, {"config": {"urls": "x"}}, {"config": {"sizes": {"small": {"core": 1}}}}):
        with pytest.raises(HelmRefused, match="additional properties"):
            render(change)


@pytest.mark.parametrize(
    "change", [{}, EVERYTHING, {"postgresql": {"enabled": False}}], ids=["least", "most", "sqlite"]
)
def test_the_settings_that_it_makes_are_ones_to_run_by(change: dict[str, Any], tmp_path: Path) -> None:
    assert judged(render(change), tmp_path) == []


def test_settings_arrive_as_they_were_written() -> None:
    written = {
        "sizes": {"small": None, "medium": None, "large": None, "odd": {"cores": 0.5, "memory": 8589934592}},
        "default_size": "odd",
        "login": {"class": "x.Y", "config": {"client_secret": {"file": "secrets/oidc"}, "scope": ["openid"]}},
        "limits": {"user": {"jobs": 1000000}},
    }
    settings = render({"config": written}).settings()
    assert settings["sizes"] == {"odd": {"cores": 0.5, "memory": 8589934592}}
    assert settings["login"] == written["login"]
    assert settings["limits"] == {"user": {"jobs": 1000000}}
    assert isinstance(settings["limits"]["user"]["jobs"], int)


@pytest.mark.parametrize("change", [{}, EVERYTHING], ids=["least", "most"])
def test_every_pod_of_it_passes_the_restricted_standard(change: dict[str, Any]) -> None:
    pods = render(change).pods()
    assert {"Deployment/hub", "Deployment/proxy", "StatefulSet/postgresql", "Job/sampan-keys"} <= pods.keys()
    for name, pod in pods.items():
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] == 1000, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), name
        assert not any("hostPath" in volume for volume in pod.get("volumes", ())), name
        for container in containers(pod):
            assert container["securityContext"] == TIGHT, (name, container["name"])


def test_every_container_that_stays_says_what_it_takes_and_how_it_is_seen_to_live() -> None:
    for name, pod in render().pods().items():
        for container in pod["containers"]:
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}, (name, container["name"])
            assert "memory" in container["resources"]["limits"], (name, container["name"])
            if name.startswith(("Deployment", "StatefulSet")):
                assert {"startupProbe", "livenessProbe"} <= container.keys(), (name, container["name"])


def test_only_the_service_speaks_to_kubernetes() -> None:
    pod = render().pods()["Deployment/hub"]
    path = "/var/run/secrets/kubernetes.io/serviceaccount"
    holders = {each["name"] for each in containers(pod) if path in mounts(pod, each["name"])}
    assert holders == {"service"}
    assert path not in mounts(render().pods()["Deployment/proxy"], "proxy")


def test_rights_are_named_one_by_one() -> None:
    rendered = render()
    for each in rendered.objects:
        for rule in each.get("rules", ()) if each["kind"] in ("Role", "ClusterRole") else ():
            assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
            if "secrets" in rule["resources"]:
                assert rule["verbs"] == ["create"] or rule["resourceNames"] == ["sampan-keys"]
    cluster = rendered.one("ClusterRole", f"{NAMESPACE}-sampan-nodes")
    assert cluster["rules"] == [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}]
    assert "ClusterRole" not in render({"rbac": {"nodes": False}}).kinds()
    assert not {"Role", "ClusterRole", "RoleBinding"} & render({"rbac": {"create": False}}).kinds()


def test_the_account_of_jobs_has_no_right_to_anything() -> None:
    rendered = render(EVERYTHING)
    account = rendered.one("ServiceAccount", "sampan-jobs")
    assert account["automountServiceAccountToken"] is False
    assert account["imagePullSecrets"] == [{"name": "registry"}]
    bound = [each for each in rendered.objects if each["kind"].endswith("RoleBinding")]
    assert bound
    assert all(subject["name"] != "sampan-jobs" for each in bound for subject in each["subjects"])


OF_THE_HUB = {
    "hub": {"image": {"tag": "0.2.0"}, "resources": {"limits": {"memory": "3Gi"}}, "extraEnv": {"A": "b"}},
    "singleuser": {"image": {"tag": "0.2.0"}},
    "keys": {"image": {"tag": "0.2.0"}},
    "postgresql": {"image": {"tag": "0.2.0"}},
    "existingSecret": "site-secrets",
    "config": {
        "admins": ["ana"],
        "sizes": {"small": {"cores": 2}},
        "login": {"class": "x.Y", "config": {"client_secret": "canary"}},
        "backends": {"kubernetes": {"storage": {"home": {"size": "20G"}}}},
    },
}


def test_what_is_the_hubs_leaves_the_proxy_as_it_is() -> None:
    before, after = render(), render(OF_THE_HUB)
    assert before.one("Deployment", "proxy")["spec"] == after.one("Deployment", "proxy")["spec"]
    assert before.one("ConfigMap", "sampan-proxy")["data"] == after.one("ConfigMap", "sampan-proxy")["data"]
    assert before.one("Deployment", "hub")["spec"] != after.one("Deployment", "hub")["spec"]


def test_what_the_proxy_reads_replaces_it() -> None:
    before, after = render(), render({"config": {"url": "https://other.example.org/"}})
    assert before.one("Deployment", "proxy")["spec"] != after.one("Deployment", "proxy")["spec"]


def test_the_proxy_sees_no_authoritys_key_and_no_secret_of_the_settings() -> None:
    rendered = render(OF_THE_HUB)
    pod = rendered.pods()["Deployment/proxy"]
    assert set(mounts(pod, "proxy").values()) == {"state", "tmp", "config"}
    (keys,) = (volume["secret"] for volume in pod["volumes"] if volume["name"] == "keys")
    names = {item["key"] for item in keys["items"]}
    assert not names & {"service.key", "signing.key", "secrets.key", "hub-cookie", "jobs-ca.key", "postgresql-password"}
    for each in rendered.objects:
        if each["kind"] != "Secret":
            assert "canary" not in str(each)


def test_a_changed_setting_starts_the_hub_anew() -> None:
    before, after = render(), render({"config": {"sizes": {"small": {"cores": 2}}}})
    template = [each.one("Deployment", "hub")["spec"]["template"]["metadata"] for each in (before, after)]
    assert template[0] != template[1]
    assert before.one("Deployment", "hub")["spec"]["strategy"] == {"type": "Recreate"}


def test_nothing_that_helm_renders_holds_a_key_of_the_installation() -> None:
    """Rendered twice it is the same: nothing in it is drawn by chance, so an upgrade logs nobody out."""
    first, second = render(EVERYTHING), render(EVERYTHING)
    assert first.objects == second.objects
    assert not first.has("Secret", "sampan-keys")
    job = first.one("Job", "sampan-keys")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"


def test_keys_of_ones_own_are_mounted_and_none_made() -> None:
    rendered = render({"keys": {"existingSecret": "mine"}})
    assert not any(each["metadata"]["name"] == "sampan-keys" for each in rendered.objects)
    for name in ("Deployment/hub", "Deployment/proxy", "StatefulSet/postgresql"):
        text = str(rendered.pods()[name]["volumes"])
        assert "'mine'" in text, name
        assert "'sampan-keys'" not in text, name


def test_a_database_of_ones_own_leaves_the_trial_one_out() -> None:
    own = {"postgresql": {"enabled": False}, "config": {"database": {"file": "secrets/url"}}}
    rendered = render(own, {"existingSecret": "site-secrets"})
    assert not rendered.has("StatefulSet", "postgresql")
    assert rendered.settings()["database"] == {"file": "secrets/url"}
    assert "hub_database" not in rendered.settings()
    assert mounts(rendered.pods()["Deployment/hub"], "service")["/etc/sampan/secrets"] == "secrets"
    assert "--trial-database" not in str(rendered.one("Job", "sampan-keys"))


def test_a_certificate_of_ones_own_is_what_the_proxy_shows() -> None:
    rendered = render({"proxy": {"https": {"secret": {"name": "site-tls"}}}})
    assert rendered.settings()["tls"] == {"certificate": "/etc/sampan/tls/tls.crt", "key": "/etc/sampan/tls/tls.key"}
    hub, proxy = (rendered.pods()[f"Deployment/{name}"] for name in ("hub", "proxy"))
    (of_hub,) = (volume["secret"]["items"] for volume in hub["volumes"] if volume["name"] == "tls")
    assert [item["key"] for item in of_hub] == ["tls.crt"]
    assert mounts(proxy, "proxy")["/etc/sampan/tls"] == "tls"


def test_images_come_from_where_they_are_said_to_be() -> None:
    change = {"singleuser": {"image": {"registry": "other.example.org", "tag": "7", "pullSecrets": ["other"]}}}
    rendered = render(change)
    pods = rendered.pods()
    (hub,) = {each["image"] for each in containers(pods["Deployment/hub"])}
    assert hub == "registry.example.org/sampan/hub:0.1.0"
    assert pods["DaemonSet/continuous-image-puller"]["containers"][0]["image"] == "other.example.org/sampan/notebook:7"
    environment = {each["name"]: each["value"] for each in pods["Deployment/hub"]["containers"][1]["env"]}
    assert environment["NOTEBOOK_IMAGE"] == "other.example.org/sampan/notebook:7"
    assert rendered.one("ServiceAccount", "sampan-jobs")["imagePullSecrets"] == [{"name": "other"}]


def test_by_default_nobody_reaches_a_job_but_proxy_and_hub() -> None:
    policy = render().one("NetworkPolicy", "sampan-jobs")["spec"]
    assert policy["podSelector"] == {"matchLabels": {"sampan.io/managed": "true"}}
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    (ingress,) = policy["ingress"]
    components = {each["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for each in ingress["from"]}
    assert components == {"proxy", "hub"}
    ports = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    assert ports == {53, 8443}


def test_without_policies_of_its_own_the_chart_lets_the_service_make_none() -> None:
    """One that the service made would cut people's pods off from all that the chart's would have let through."""
    assert render().settings()["backends"]["kubernetes"]["network_policies"] is True
    without = render({"networkPolicy": {"enabled": False}})
    assert "NetworkPolicy" not in without.kinds()
    assert without.settings()["backends"]["kubernetes"]["network_policies"] is False


def test_every_policys_ports_are_ports_of_the_pods_that_it_speaks_of() -> None:
    """A policy with a port that no container has lets nothing through. Numbers: not every plugin resolves names."""
    rendered = render()
    listened: dict[str, set[int]] = {}
    for pod in rendered.pods().values():
        component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
        for container in pod["containers"]:
            listened.setdefault(component, set()).update(port["containerPort"] for port in container.get("ports", ()))
    checked = 0
    for each in rendered.objects:
        spec = each["spec"] if each["kind"] == "NetworkPolicy" else {}
        chosen = spec.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/component")
        for rule in spec.get("ingress", ()) if chosen else ():
            assert {port["port"] for port in rule["ports"]} <= listened[chosen], each["metadata"]["name"]
            checked += 1
        for rule in spec.get("egress", ()):
            for peer in rule.get("to", ()):
                component = peer.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/component")
                if component is not None:
                    assert {port["port"] for port in rule["ports"]} <= listened[component], each["metadata"]["name"]
                    checked += 1
    assert checked == 6


def test_what_may_be_left_out_is_left_out() -> None:
    least = render({"prePuller": {"continuous": {"enabled": False}}, "scheduling": {"podPriority": {"enabled": False}}})
    assert not {"DaemonSet", "PriorityClass", "Ingress", "ServiceMonitor"} & least.kinds()
    assert "priorityClassName" not in least.pods()["Deployment/proxy"]
    most = render(EVERYTHING)
    assert {"DaemonSet", "PriorityClass", "Ingress", "ServiceMonitor", "PodDisruptionBudget"} <= most.kinds()
    assert most.one("Ingress", "sampan")["spec"]["rules"][0]["host"] == "hub.example.org"


def test_what_people_made_outlives_the_release() -> None:
    rendered = render()
    claim = rendered.one("PersistentVolumeClaim", "sampan-state")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert "persistentVolumeClaimRetentionPolicy" not in rendered.one("StatefulSet", "postgresql")["spec"]


def test_a_path_in_the_address_is_the_ingress_path_too() -> None:
    deep = merged(SITE, {"config": {"url": "https://hub.example.org/deep"}, "ingress": {"enabled": True}})
    (rule,) = render(site=deep).one("Ingress", "sampan")["spec"]["rules"]
    assert rule["http"]["paths"][0]["path"] == "/deep/"
