"""`sampan kubernetes keys` on the real API server, with the rights that the chart gives it and no others."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.installation import SAMPAN
from tests.testbeds.kube.cluster import KubeCluster

SECRET = "sampan-keys"
RULES = [
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
    {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [SECRET], "verbs": ["get", "patch"]},
]


class Keys:
    """A namespace in which an account may do what the hook's may; `kubeconfig` is that account's."""

    def __init__(self, kube: KubeCluster, namespace: str, folder: Path) -> None:
        self.kube, self.namespace = kube, namespace
        self.kubeconfig = folder / "kubeconfig"
        account = {"kind": "ServiceAccount", "name": "keys", "namespace": namespace}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "keys"}
        group = "rbac.authorization.k8s.io/v1"
        kube.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "keys"}},
            {"apiVersion": group, "kind": "Role", "metadata": {"name": "keys"}, "rules": RULES},
            {
                "apiVersion": group,
                "kind": "RoleBinding",
                "metadata": {"name": "keys"},
                "roleRef": role,
                "subjects": [account],
            },
            namespace=namespace,
        )
        token = kube.kubectl("create", "token", "keys", f"--namespace={namespace}", "--duration=1h").strip()
        seen = json.loads(kube.kubectl("config", "view", "--raw", "--flatten", "--output=json"))
        config = {
            **seen,
            "contexts": [
                {"name": "k", "context": {"cluster": seen["clusters"][0]["name"], "user": "k", "namespace": namespace}}
            ],
            "users": [{"name": "k", "user": {"token": token}}],
            "current-context": "k",
        }
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(json.dumps(config))

    def launch(self, *words: str) -> subprocess.Popen[str]:
        argv = [SAMPAN, "kubernetes", "keys", "--kubeconfig", str(self.kubeconfig), *words]
        return subprocess.Popen(
            argv, env=self.kube.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def make(self, *words: str) -> tuple[int, str]:
        """How it ended, and what it said."""
        process = self.launch(*words)
        said, wrong = process.communicate(timeout=60)
        return process.returncode, said + wrong

    def secret(self) -> dict[str, Any]:
        return dict(self.kube.get("secret", SECRET, namespace=self.namespace))


@pytest.fixture
def keys(kube: KubeCluster, tmp_path: Path) -> Iterator[Keys]:
    with kube.namespace("keys") as namespace:
        yield Keys(kube, namespace, tmp_path)


def test_several_at_once_make_one_secret_that_stays(keys: Keys) -> None:
    racing = [keys.launch() for _ in range(3)]
    said = [process.communicate(timeout=60) for process in racing]
    assert [process.returncode for process in racing] == [0, 0, 0], said
    assert sum("made in the Secret" in out for out, _ in said) == 1, said
    first = keys.secret()
    code, again = keys.make()
    assert (code, again) == (0, "the Secret sampan-keys has all keys\n")
    assert keys.secret() == first, "nothing was written"
    assert not any(owner in first["metadata"] for owner in ("ownerReferences", "finalizers"))
    assert "app.kubernetes.io/managed-by" not in first["metadata"]["labels"], "helm does not take it for its own"


def test_what_a_newer_version_needs_is_added(keys: Keys) -> None:
    assert keys.make()[0] == 0
    before = keys.secret()["data"]
    code, said = keys.make("--trial-database", "postgresql")
    assert (code, said) == (
        0,
        "made in the Secret sampan-keys: database-url, hub-database-url, postgresql-password\n",
    )
    after = keys.secret()["data"]
    assert {name: after[name] for name in before} == before
    password = base64.b64decode(after["postgresql-password"]).decode()
    assert (
        base64.b64decode(after["database-url"]).decode() == f"postgresql+psycopg://sampan:{password}@postgresql/sampan"
    )


def test_a_refusal_is_said(keys: Keys) -> None:
    code, said = keys.make("--secret", "another")
    assert code == 1
    assert "403 Forbidden" in said
    assert 'cannot get resource "secrets"' in said


def test_a_printed_one_can_be_applied(keys: Keys) -> None:
    printed = subprocess.run(
        [SAMPAN, "kubernetes", "keys", "--print"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    keys.kube.kubectl("apply", f"--namespace={keys.namespace}", "--filename=-", input=printed.stdout)
    assert keys.make() == (0, "the Secret sampan-keys has all keys\n")
