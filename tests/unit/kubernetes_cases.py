"""Jobs and settings of which the tests compare pods, claims and policies whole (`kubernetes_golden/`)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sampan_hub.backends.base import Identity, JobSpec
from sampan_hub.backends.kubernetes.pod import make_pod
from sampan_hub.backends.kubernetes.policies import make_policy
from sampan_hub.backends.kubernetes.volumes import make_claims
from sampan_hub.jobs.keys import make_job_id, sign
from sampan_hub.jobs.model import Kind, Resources
from sampan_hub.settings.kubernetes import KubernetesBackend

KEY = b"a key of this test"
INSTANCE = "abcdefgh"
BATCH = "b" * 24


def make_settings(**changes: Any) -> KubernetesBackend:
    return KubernetesBackend.model_validate({"kind": "kubernetes", "image": "registry.example/notebook:1", **changes})


def make_identity(kind: Kind = Kind.WORKER, index: int = 0, **changes: Any) -> Identity:
    identity = Identity(
        job_id=make_job_id(INSTANCE, BATCH, index),
        kind=kind,
        name=f"w-{index}",
        owner="ana",
        project="personal",
        tenant="",
        size="small",
        environment="default",
        parent=None,
        cluster=None,
        batch=BATCH,
        index=index,
        resources=Resources(500, 1 << 30),
        price_micros_per_hour=None,
        uid=1000,
        created_at=datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
    )
    return sign(KEY, replace(identity, **changes))


def make_spec(identity: Identity, **changes: Any) -> JobSpec:
    argv = ("/opt/sampan/bin/python", "-m", f"sampan.{identity.kind}")
    spec = JobSpec(identity, argv, {"SAMPAN_JOB": identity.job_id, "SAMPAN_BOOTSTRAP": "{}"}, "/home/user")
    return replace(spec, **changes)


SHARED_HOMES: dict[str, Any] = {"storage": {"home": {"class": "nfs", "size": "20G", "access": "ReadWriteMany"}}}
OWN_NODES: dict[str, Any] = {
    "node_selector": {"pool": "science"},
    "tolerations": [{"key": "science", "value": "yes", "effect": "NoSchedule"}],
    "sizes": {
        "gpu": {
            "node_selector": {"gpu": "a100"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}, {"operator": "Exists"}],
            "gpu_resource": "nvidia.com/mig-3g.20gb",
        }
    },
}


def make_cases() -> dict[str, Any]:
    """By the name of the file."""
    notebook, worker = make_identity(Kind.NOTEBOOK, name=""), make_identity(Kind.WORKER, cluster="abcdefgh.cccc")
    gpu = make_identity(size="gpu", resources=Resources(4000, 8 << 30, 2), owner="Ana.Lima@example.org")
    in_project = make_identity(Kind.NOTEBOOK, project="climate")
    project = {"storage": {"projects": {"climate": {"class": "nfs", "size": "1T"}}}}
    private = {"image_pull_secrets": ["registry"], "image_pull_policy": "Always", "service_account": "jobs"}
    tricky = make_spec(
        worker, argv=("sh", "-c", "echo $(HOME) $$"), env={"A": "$(B) $$", "HOME": "/", "SAMPAN_RUN": "x"}
    )
    pods = {
        "notebook_home_of_one_node": make_pod(make_spec(notebook), make_settings(), {}),
        "notebook_home_shared": make_pod(make_spec(notebook), make_settings(**SHARED_HOMES), {}),
        "worker_home_of_one_node": make_pod(make_spec(worker), make_settings(), {}),
        "worker_home_shared": make_pod(make_spec(worker), make_settings(**SHARED_HOMES), {}),
        "scheduler": make_pod(make_spec(make_identity(Kind.SCHEDULER, size="")), make_settings(), {}),
        "gpu": make_pod(make_spec(gpu), make_settings(**OWN_NODES), {}),
        "project": make_pod(make_spec(in_project), make_settings(**project), {}),
        "own_image": make_pod(make_spec(worker), make_settings(**private), {"default": "own/image:2"}),
        "tricky": make_pod(tricky, make_settings(), {}),
    }
    claims = {
        "claims_of_one_node": list(make_claims(notebook, make_settings().storage)),
        "claims_shared_and_project": list(make_claims(in_project, make_settings(**project).storage)),
    }
    open_way = make_settings(allow=["10.20.0.0/16", "192.168.7.7/32"])
    policies = {
        "policy_internet": make_policy(INSTANCE, "ana", make_settings()),
        "policy_closed": make_policy(INSTANCE, "Ana.Lima@example.org", make_settings(internet=False)),
        "policy_allow": make_policy(INSTANCE, "ana", open_way),
    }
    return {**pods, **claims, **policies}
