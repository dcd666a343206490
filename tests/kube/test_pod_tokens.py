"""Tokens as a real cluster makes them: whose they are, by the keys that it publishes to the service's own account."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sampan_hub.backends.kubernetes.names import pod_name
from sampan_hub.backends.kubernetes.volumes import TOKEN_FILE
from sampan_hub.jobs.model import Kind
from sampan_hub.service.tokens import Pod, PodTokens, TokenRefused, looks_like_token
from tests.kube.kube_rig import RESTRICTED, Ground, KubeRig
from tests.support.installation import wait_until
from tests.testbeds.kube.cluster import KubeCluster


@pytest.fixture(scope="module")
def ground(kube: KubeCluster) -> Iterator[Ground]:
    with kube.namespace("tokens", RESTRICTED) as namespace:
        made = Ground(kube, namespace)
        yield made
        made.close()


@pytest.fixture
async def rig(ground: Ground, tmp_path: Path) -> AsyncIterator[KubeRig]:
    made = KubeRig(ground, tmp_path)
    yield made
    await made.close()


async def test_a_pod_is_known_by_its_token_and_nobody_else_is(rig: KubeRig) -> None:
    spec = rig.spec()
    await rig.backend.submit([spec])
    name = pod_name(Kind.WORKER, spec.job_id)
    wait_until(lambda: rig.pod(spec.job_id)["status"]["phase"] == "Running", 60, "the pod runs")
    uid = rig.pod(spec.job_id)["metadata"]["uid"]
    token = rig.kube.kubectl("exec", name, f"--namespace={rig.namespace}", "--", "cat", TOKEN_FILE).strip()
    tokens = PodTokens(rig.backend.published)
    assert looks_like_token(token)
    assert await tokens.read(token) == Pod(rig.namespace, name, uid, "sampan-jobs")

    bound = ("--bound-object-kind=Pod", f"--bound-object-name={name}", f"--bound-object-uid={uid}")
    for why, words in {
        "of no pod": ("--audience=sampan",),
        "for the API server": bound,
        "for others, too": (*bound, "--audience=sampan", "--audience=vault"),
    }.items():
        other = rig.kube.kubectl("create", "token", "sampan-jobs", f"--namespace={rig.namespace}", *words).strip()
        with pytest.raises(TokenRefused):
            pytest.fail(f"a token {why} was taken: {await tokens.read(other)}")
