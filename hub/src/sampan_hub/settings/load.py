"""Reads `sampan.yaml`. Whatever is wrong with it is said at once, each with file, line, column and key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from sampan_hub.settings.explain import explain
from sampan_hub.settings.findings import Finding, SettingsError, made
from sampan_hub.settings.kubernetes import KubernetesBackend
from sampan_hub.settings.model import Settings, Tls
from sampan_hub.settings.references import References
from sampan_hub.settings.yamlfile import parse_document

DEFAULT_NAME = "sampan.yaml"
VARIABLE = "SAMPAN_CONFIG"
FRONT_KEYS = frozenset({"profile", "url", "listen", "tls", "state_dir", "layout"})
"""What the proxy and its like read of settings with a `layout`."""
_MAX_FILE_BYTES = 4 << 20


def find_settings_file(path: Path | None, environ: Mapping[str, str], folder: Path) -> Path | None:
    """Which file counts: the one given, else `SAMPAN_CONFIG`, else `./sampan.yaml` where there is one, else none."""
    if path is not None:
        return folder / path
    if environ.get(VARIABLE):
        return folder / environ[VARIABLE]
    default = folder / DEFAULT_NAME
    return default if default.exists() or default.is_symlink() else None


def load_settings(path: Path | None = None, *, front: bool = False) -> Settings:
    """What the file says (see `find_settings_file`), relative paths made absolute; raises SettingsError.

    Nothing is filled in or judged here: `settings.effective` does that. `front`: see `parse_settings`.
    """
    folder = Path.cwd()
    file = find_settings_file(path, os.environ, folder)
    if file is None:
        return _with_absolute_paths(Settings(), folder)
    return parse_settings(_read(file), shown_as(file, folder), file.parent, os.environ, front=front)


def parse_settings(
    data: bytes, file: str, folder: Path, environ: Mapping[str, str], *, front: bool = False
) -> Settings:
    """Settings from the content of `file`, whose relative paths start in `folder`; raises SettingsError.

    `front`: with a `layout`, the `FRONT_KEYS` alone, whatever the others say: they may refer to secrets that only hub
    and service are given.
    """
    document = parse_document(data, file)
    if not isinstance(document.tree, dict):
        text = f"expected keys and values, got a {_kind_name(document.tree)}"
        raise SettingsError([*document.findings, made(document.source, (), text)])
    references = References(document.source, folder, environ)
    keys = document.tree.keys() & FRONT_KEYS if front and document.tree.get("layout") else document.tree.keys()
    tree = references.resolved({key: document.tree[key] for key in keys if document.tree[key] is not None})
    findings = document.findings + references.findings
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        findings += explain(error, document.source)
    if findings:
        raise SettingsError(sorted(findings, key=_file_order))
    return _with_absolute_paths(settings, folder).read_from(document.source)


def _with_absolute_paths(settings: Settings, folder: Path) -> Settings:
    def absolute(path: Path) -> Path:
        return folder / path.expanduser()

    environments = {
        name: environment.model_copy(update={"prefix": absolute(environment.prefix)})
        if "prefix" in environment.model_fields_set
        else environment
        for name, environment in settings.environments.items()
    }
    tls = settings.tls
    if isinstance(tls, Tls):
        files = {"certificate": absolute(tls.certificate), "key": absolute(tls.key), "ca": tls.ca and absolute(tls.ca)}
        tls = tls.model_copy(update=files)
    backends = {
        name: backend.model_copy(update={"kubeconfig": absolute(backend.kubeconfig)})
        if isinstance(backend, KubernetesBackend) and backend.kubeconfig is not None
        else backend
        for name, backend in settings.backends.items()
    }
    changes = {"state_dir": absolute(settings.state_dir), "environments": environments, "tls": tls}
    changes["backends"] = backends
    return settings.model_copy(update=changes)


def shown_as(file: Path, folder: Path) -> str:
    """A file's name in messages: short inside the current folder, else in full."""
    return str(file.relative_to(folder)) if file.is_relative_to(folder) else str(file)


def _read(file: Path) -> bytes:
    name = shown_as(file, Path.cwd())
    try:
        with file.open("rb") as stream:
            data = stream.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
        raise SettingsError([Finding("", text, name, remedy="name another file with --config")]) from error
    if len(data) > _MAX_FILE_BYTES:
        raise SettingsError([Finding("", f"larger than {_MAX_FILE_BYTES >> 20} MiB", name)])
    return data


def _kind_name(value: object) -> str:
    return "list" if isinstance(value, list) else "single value"


def _file_order(finding: Finding) -> tuple[int, int]:
    return (finding.position.line, finding.position.column) if finding.position else (0, 0)
