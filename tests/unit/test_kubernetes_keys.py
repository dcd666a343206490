"""The keys of an installation in a cluster: made once, whole, added to and never changed; and what each side gets."""

from __future__ import annotations

import base64
import json
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from click.testing import CliRunner

from sampan_hub.backends.kubernetes.client import ApiRefused, KubeClient
from sampan_hub.cli.kubernetes.secret import ensure_keys
from sampan_hub.cli.main import main
from sampan_hub.settings.keyfiles import KEY_FILES, KeyFileError
from sampan_hub.settings.layout import Layout
from sampan_hub.trust.keyring import Contents

NOW = datetime(2026, 11, 23, tzinfo=UTC)
STEMS = ("ca", "front-ca", "jobs-ca", "internal-ca")
TRIAL = {"postgresql-password", "database-url", "hub-database-url"}
LAYOUT = Layout(
    proxy_api="https://proxy-api:8444",
    hub="https://hub:8443",
    service="https://hub:8444",
    entry_names=("proxy-public",),
)


class Cluster:
    """A Secret as the API server keeps it; `before` is what somebody else does before a write arrives."""

    namespace = "science"

    def __init__(self) -> None:
        self.secret: dict[str, Any] | None = None
        self.before: list[dict[str, Any]] = []
        self.writes = 0

    async def get(self, path: str) -> dict[str, Any]:
        assert path == "/api/v1/namespaces/science/secrets/sampan-keys"
        if self.secret is None:
            raise refusal(404, "NotFound")
        return deepcopy(self.secret)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        assert path == "/api/v1/namespaces/science/secrets"
        self._let_others_write()
        if self.secret is not None:
            raise refusal(409, "AlreadyExists")
        self.secret = deepcopy(body)
        self.secret["metadata"]["resourceVersion"] = "1"
        self.writes += 1
        return self.secret

    async def patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self._let_others_write()
        assert self.secret is not None
        if body["metadata"] != {"resourceVersion": self.secret["metadata"]["resourceVersion"]}:
            raise refusal(409, "Conflict")
        self.secret["data"] |= body["data"]
        self.secret["metadata"]["resourceVersion"] += "1"
        self.writes += 1
        return self.secret

    def _let_others_write(self) -> None:
        if self.before:
            self.secret = self.before.pop()

    def contents(self) -> Contents:
        assert self.secret is not None
        return {name: base64.b64decode(text) for name, text in self.secret["data"].items()}


def refusal(status: int, reason: str) -> ApiRefused:
    return ApiRefused(status, reason, "")


async def ensure(cluster: Cluster, trial: str | None = None) -> list[str]:
    return await ensure_keys(cast(KubeClient, cluster), "sampan-keys", NOW, trial)


async def test_all_keys_are_made_once_and_never_again() -> None:
    cluster = Cluster()
    expected = {*KEY_FILES, *(f"{stem}.{ending}" for stem in STEMS for ending in ("crt", "key"))}
    assert set(await ensure(cluster)) == set(cluster.contents()) == expected
    before = cluster.contents()
    assert await ensure(cluster) == []
    assert (cluster.contents(), cluster.writes) == (before, 1)


async def test_a_newer_versions_are_added_and_the_others_stay() -> None:
    cluster = Cluster()
    await ensure(cluster)
    assert cluster.secret is not None
    before = cluster.contents()
    for name in ("cli-token", "internal-ca.crt", "internal-ca.key"):
        del cluster.secret["data"][name]
    assert set(await ensure(cluster, "postgresql")) == {"cli-token", "internal-ca.crt", "internal-ca.key", *TRIAL}
    after = cluster.contents()
    assert {name for name in before if before[name] != after[name]} == {
        "cli-token",
        "internal-ca.crt",
        "internal-ca.key",
    }
    password = after["postgresql-password"].decode()
    assert after["database-url"].decode() == f"postgresql+psycopg://sampan:{password}@postgresql/sampan"
    assert after["hub-database-url"].decode() == f"postgresql+psycopg://sampan:{password}@postgresql/jupyterhub"


async def test_who_comes_second_takes_what_the_first_made() -> None:
    first, cluster = Cluster(), Cluster()
    await ensure(first)
    assert first.secret is not None
    cluster.before = [first.secret]
    assert await ensure(cluster) == []
    assert cluster.contents() == first.contents()
    half = deepcopy(first.secret)
    del half["data"]["cli-token"]
    changed = deepcopy(first.secret) | {"metadata": {"resourceVersion": "7"}}
    cluster.secret, cluster.before = half, [changed]
    assert await ensure(cluster) == []
    assert cluster.contents() == first.contents()


async def test_half_of_a_pair_is_nothing_to_add_to() -> None:
    cluster = Cluster()
    await ensure(cluster)
    assert cluster.secret is not None
    del cluster.secret["data"]["jobs-ca.key"]
    with pytest.raises(KeyFileError, match=r"jobs-ca\.key is missing beside jobs-ca\.crt: restore"):
        await ensure(cluster)
    assert cluster.writes == 1


async def test_another_refusal_is_not_taken_for_success() -> None:
    class Forbidden(Cluster):
        async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
            raise refusal(403, "Forbidden")

    with pytest.raises(ApiRefused, match="403"):
        await ensure(Forbidden())


def test_a_secret_can_be_printed_for_who_applies_it_themselves() -> None:
    done = CliRunner().invoke(main, ["kubernetes", "keys", "--print", "--secret", "mine", "--trial-database", "db"])
    secret = json.loads(done.stdout)
    assert (secret["kind"], secret["metadata"]["name"]) == ("Secret", "mine")
    assert set(secret["data"]) >= {*KEY_FILES, *TRIAL}
