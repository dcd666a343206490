"""How a Kubernetes API server is reached and as whom: by a kubeconfig file, or as the pod's own service account."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan_hub.settings.yamlfile import parse_document

OWN_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds the token of its service account."""


class AccessError(Exception):
    """The cluster cannot be reached like this: what is missing, and where."""


@dataclass(frozen=True, slots=True)
class Access:
    """One API server, and who is asking."""

    server: str
    namespace: str
    ca: bytes | None = None
    """Certificates (PEM) by which the server is known. None: those that this machine knows."""
    token: str | None = None
    token_file: Path | None = None
    """A token that is renewed in its file."""
    certificate: bytes | None = None
    key: bytes | None = None

    def __repr__(self) -> str:
        return f"Access({self.server!r}, {self.namespace!r})"


def find_access(kubeconfig: Path | None, environ: Mapping[str, str], own_account: Path = OWN_ACCOUNT) -> Access:
    """As the file says; without one, as the pod this runs in. Raises AccessError."""
    return _read_kubeconfig(kubeconfig) if kubeconfig is not None else _own_pod(environ, own_account)


def _own_pod(environ: Mapping[str, str], folder: Path) -> Access:
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise AccessError("this is no pod of a cluster: set `kubeconfig` to a file that says how to reach one")
    try:
        namespace = (folder / "namespace").read_text().strip()
        ca = (folder / "ca.crt").read_bytes()
    except OSError as error:
        raise AccessError(f"{error.filename} cannot be read: mount the token of a service account") from error
    host = f"[{host}]" if ":" in host else host
    return Access(f"https://{host}:{port}", namespace, ca, token_file=folder / "token")


def _read_kubeconfig(file: Path) -> Access:
    try:
        document = parse_document(file.read_bytes(), str(file))
    except OSError as error:
        raise AccessError(f"{file} cannot be read: {error.strerror}") from error
    if document.findings or not isinstance(document.tree, dict):
        raise AccessError(f"{file} is no kubeconfig: {document.findings[0] if document.findings else 'no keys'}")
    tree = document.tree
    context = _named(tree, "contexts", "context", str(tree.get("current-context", "")), file)
    cluster = _named(tree, "clusters", "cluster", str(context.get("cluster", "")), file)
    user = _named(tree, "users", "user", str(context.get("user", "")), file)
    if "exec" in user or "auth-provider" in user:
        raise AccessError(f"{file} runs a program to log in: write a token or a certificate of a service account")
    token_file = user.get("tokenFile")
    return Access(
        server=str(cluster.get("server", "")).rstrip("/"),
        namespace=str(context.get("namespace") or "default"),
        ca=_content(cluster, "certificate-authority", file),
        token=user.get("token"),
        token_file=file.parent / token_file if token_file else None,
        certificate=_content(user, "client-certificate", file),
        key=_content(user, "client-key", file),
    )


def _named(tree: Mapping[str, Any], section: str, word: str, name: str, file: Path) -> Mapping[str, Any]:
    for entry in tree.get(section) or ():
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(word), dict):
            return dict(entry[word])
    raise AccessError(f"{file} has no {word} {name!r} in its {section}")


def _content(section: Mapping[str, Any], key: str, file: Path) -> bytes | None:
    """What `key` names, or `key-data` holds."""
    try:
        if section.get(f"{key}-data"):
            return base64.b64decode(section[f"{key}-data"], validate=True)
        return (file.parent / section[key]).read_bytes() if section.get(key) else None
    except (OSError, binascii.Error) as error:
        raise AccessError(f"{key} of {file} cannot be read: {error}") from error
