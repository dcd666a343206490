"""From a job to its pod. Pure: the tests compare pods whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sampan_hub.backends.base import Identity, JobSpec
from sampan_hub.backends.kubernetes import names
from sampan_hub.backends.kubernetes.identity import render_identity
from sampan_hub.backends.kubernetes.volumes import HOME, JOB_DIR, SCRATCH, has_home, make_volumes
from sampan_hub.jobs.keys import instance_of
from sampan_hub.jobs.model import Kind, Resources
from sampan_hub.settings.kubernetes import KubernetesBackend, KubernetesPlacement, Toleration

Json = dict[str, Any]

CONTAINER = "main"
USER_ID = 1000
"""As whom everything in a pod runs; its files belong to this group, too."""
STOP_GRACE_S = 10
_HOSTNAME = "kubernetes.io/hostname"
_AS_NOBODY_SPECIAL: Json = {
    "runAsNonRoot": True,
    "runAsUser": USER_ID,
    "runAsGroup": USER_ID,
    "fsGroup": USER_ID,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}


def make_pod(spec: JobSpec, settings: KubernetesBackend, images: Mapping[str, str]) -> Json:
    """The pod of this job, which satisfies the "restricted" standard.

    `images`: of environments that have one of their own.
    """
    identity = spec.identity
    placement = settings.placement_of(identity.size)
    volumes = make_volumes(identity, settings.storage)
    container = {
        "name": CONTAINER,
        "image": images.get(identity.environment, settings.image),
        "imagePullPolicy": settings.image_pull_policy,
        "command": [_literally(part) for part in spec.argv],
        "workingDir": spec.folder,
        "env": _make_variables(spec.env),
        "resources": _make_resources(identity.resources, placement),
        "volumeMounts": volumes.mounts,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": names.pod_name(identity.kind, identity.job_id),
            "labels": make_labels(identity, settings),
            "annotations": {names.IDENTITY: render_identity(identity)},
        },
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": settings.service_account,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            # Its first process is the sandbox's, which takes in what jobs leave behind and lets signals reach them.
            "shareProcessNamespace": True,
            "terminationGracePeriodSeconds": STOP_GRACE_S,
            "securityContext": _AS_NOBODY_SPECIAL,
            "containers": [container],
            "volumes": volumes.volumes,
            **_make_placement(identity, settings, placement),
        },
    }


def _make_placement(identity: Identity, settings: KubernetesBackend, placement: KubernetesPlacement) -> Json:
    made: Json = {}
    if settings.image_pull_secrets:
        made["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    if placement.node_selector:
        made["nodeSelector"] = dict(placement.node_selector)
    if placement.tolerations:
        made["tolerations"] = [_make_toleration(toleration) for toleration in placement.tolerations]
    if identity.kind is Kind.NOTEBOOK and settings.storage.home.access == "ReadWriteOnce":
        made["affinity"] = _beside_own_notebooks(identity.owner)
    return made


def make_labels(identity: Identity, settings: KubernetesBackend) -> dict[str, str]:
    """By what the pod is found, and what policies say of it."""
    labels = {
        "app.kubernetes.io/name": "sampan",
        "app.kubernetes.io/component": str(identity.kind),
        names.MANAGED: "true",
        names.INSTANCE: instance_of(identity.job_id) or "",
        names.JOB: identity.job_id,
        names.KIND: str(identity.kind),
        names.OWNER: names.escape(identity.owner),
        names.BATCH: identity.batch,
    }
    if identity.cluster is not None:
        labels[names.CLUSTER] = identity.cluster
    if has_home(identity.kind, settings.storage):
        labels[names.HOME] = names.escape(identity.owner)
    return labels


def _make_variables(variables: Mapping[str, str]) -> list[Json]:
    own: list[Json] = [
        {"name": "HOME", "value": HOME},
        {"name": "SAMPAN_JOB_DIR", "value": JOB_DIR},
        {"name": "SAMPAN_SCRATCH", "value": SCRATCH},
        {"name": "SAMPAN_RUN", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": "SAMPAN_ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]
    taken = {variable["name"] for variable in own}
    given = [{"name": name, "value": _literally(value)} for name, value in variables.items() if name not in taken]
    return own + given


def _literally(text: str) -> str:
    """As Kubernetes hands it on unchanged: it takes `$(NAME)` for the value of a variable, and `$$` for `$`."""
    return text.replace("$", "$$")


def _make_resources(resources: Resources, placement: KubernetesPlacement) -> Json:
    amounts = {"cpu": f"{resources.cores_milli}m", "memory": str(resources.memory_bytes)}
    if resources.gpus and placement.gpu_resource:
        amounts[placement.gpu_resource] = str(resources.gpus)
    return {"requests": amounts, "limits": dict(amounts)}


def _make_toleration(toleration: Toleration) -> Json:
    made: Json = {"operator": toleration.operator}
    if toleration.key is not None:
        made["key"] = toleration.key
    if toleration.operator == "Equal":
        made["value"] = toleration.value
    if toleration.effect is not None:
        made["effect"] = toleration.effect
    return made


def _beside_own_notebooks(owner: str) -> Json:
    """On the node that holds the home already, if any does: on another one a second notebook would wait for it."""
    term = {"labelSelector": {"matchLabels": {names.HOME: names.escape(owner)}}, "topologyKey": _HOSTNAME}
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
