"""The Secret in which a cluster keeps an installation's keys: made once, added to, never changed."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sampan_hub.backends.kubernetes.client import ApiRefused, Json, KubeClient
from sampan_hub.settings.keyfiles import KeyFileError
from sampan_hub.trust.keyring import Contents, make_missing

TRIES = 5
LABELS = {"app.kubernetes.io/name": "sampan", "app.kubernetes.io/component": "keys"}
NOTE = "The keys of this installation. Who removes it logs everybody out and loses what runs; helm never removes it."


def make_secret(name: str, contents: Contents) -> Json:
    """The Secret as Kubernetes writes it."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": name, "labels": LABELS, "annotations": {"sampan.io/note": NOTE}},
        "data": _encoded(contents),
    }


def parse_contents(secret: Mapping[str, Any]) -> Contents:
    """What a Secret holds; raises KeyFileError for what is none."""
    try:
        return {name: base64.b64decode(text, validate=True) for name, text in (secret.get("data") or {}).items()}
    except (binascii.Error, TypeError) as error:
        raise KeyFileError(f"the Secret holds what is not base64: {error}") from error


async def ensure_keys(client: KubeClient, name: str, now: datetime, trial_database: str | None) -> list[str]:
    """Every key is in the Secret `name`; which were added. Safe to race. Raises KeyFileError, BackendError."""
    folder = f"/api/v1/namespaces/{client.namespace}/secrets"
    for _ in range(TRIES):
        kept = await _read(client, f"{folder}/{name}")
        added = make_missing(parse_contents(kept or {}), client.namespace, now, trial_database)
        if not added:
            return []
        try:
            if kept is None:
                await client.post(folder, make_secret(name, added))
            else:
                version = {"resourceVersion": kept["metadata"]["resourceVersion"]}  # refused if somebody was quicker
                await client.patch(f"{folder}/{name}", {"metadata": version, "data": _encoded(added)})
        except ApiRefused as refusal:
            if refusal.status != 409:
                raise
            continue
        return sorted(added)
    raise KeyFileError(f"the Secret {name} was changed by somebody else {TRIES} times over: try again")


async def _read(client: KubeClient, path: str) -> Json | None:
    try:
        return await client.get(path)
    except ApiRefused as refusal:
        if refusal.status == 404:
            return None
        raise


def _encoded(contents: Contents) -> dict[str, str]:
    return {name: base64.b64encode(content).decode() for name, content in sorted(contents.items())}
