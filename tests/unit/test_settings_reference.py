"""The schema, the reference page and the YAML that is shown: made from the models, true of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sampan_hub.settings.defaults import complete
from sampan_hub.settings.explain import known_keys
from sampan_hub.settings.load import parse_settings
from sampan_hub.settings.machine import Machine
from sampan_hub.settings.model import Section, Settings
from sampan_hub.settings.reference import make_schema, render_reference
from sampan_hub.settings.references import SECRET_PLACES
from sampan_hub.settings.show import render_settings
from sampan_hub.settings.units import SecretText

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
EVERYTHING = """
profile: site
url: https://s.example/
listen: '[::]:8443'
layout: {proxy_api: 'https://api:8444', hub: 'https://hub:8443', service: 'https://hub:8444', entry_names: [entry]}
state_dir: /var/lib/sampan
database: {env: DB}
hub_database: {env: DB}
backends:
  local: {kind: local, cores: 8, memory: 32G, overcommit: 1.5}
  pretend: {kind: fake, start_delay: 1h30m}
  cluster:
    kind: slurm
    submit_as: themselves
    commands: /opt/slurm/bin
    accounting: true
    reach: https://hub.cluster:8443/
    network: 10.88.0.0/24
    ports: {first: 31000, last: 31999}
    partition: compute,long
    walltime: 12h
    directives: [--exclude=node7]
    sizes: {small: {partition: gpu, gres: 'gpu:a100:1', constraint: 'a100&nvme', walltime: 1h}}
    projects: {p: {account: phys, qos: high, reservation: class}}
  pods:
    kind: kubernetes
    image: registry.example.org/sampan-notebook:1
    namespace: science
    kubeconfig: /etc/sampan/kubeconfig
    image_pull_policy: Always
    image_pull_secrets: [registry]
    service_account: jobs
    reach: https://entry.science:8443/
    ports: {first: 31000, last: 31099}
    cluster_host: notebook
    scheduler: {cores: 1.0, memory: 2G}
    node_selector: {pool: science}
    tolerations: [{key: science, operator: Exists, effect: NoSchedule}]
    gpu_resource: amd.com/gpu
    storage:
      home: {class: nfs, size: 20G, access: ReadWriteMany}
      scratch: {size: 50G}
      projects: {p: {size: 1T, class: nfs}}
    network_policies: false
    internet: false
    allow: [10.20.0.0/16]
    sizes: {small: {node_selector: {gpu: a100}, tolerations: [{operator: Exists}], gpu_resource: nvidia.com/mig}}
sizes:
  small: {cores: 0.5, memory: 1.5G, gpus: 0, price_per_hour: 0.000001}
default_size: small
environments: {default: {prefix: /opt/user, variables: {A: b}, image: own/image:2}}
default_environment: default
projects: {p: {tenant: t, members: [ana, ben], sizes: [small]}}
limits:
  user: {cores: 8, memory: 16G, gpus: 1, jobs: 9}
  project: {cores: 8}
  site: {jobs: 100}
  users: {Ana@example.org: {cores: 64}}
  projects: {p: {memory: 1T}}
  raised_by: the help desk
login: {class: generic-oauth, config: {client_secret: {env: SECRET}, scope: [openid], manage_groups: true}}
admins: [ana]
tls: {certificate: /c.pem, key: /k.pem}
behind_proxy: [10.0.0.1]
plain_http: true
isolation: none
idle: {notebook: 2h, cluster: 5m}
currency: EUR
unknown_grace: 90s
keep_logs: 30d
"""


def everything() -> Settings:
    environ = {"DB": "postgresql://ana:hunter2@db/x", "SECRET": "hunter2"}
    return parse_settings(EVERYTHING.encode(), "sampan.yaml", Path("/"), environ)


def sections(model: type[Section] = Section) -> Iterator[type[Section]]:
    """Those of the settings: the chart's values are described by others, which another test may have imported."""
    for section in model.__subclasses__():
        if section.__module__.startswith("sampan_hub."):
            yield section
            yield from sections(section)


def test_the_committed_page_is_the_generated_one() -> None:
    assert PAGE.read_text() == render_reference(), "run: sampan config reference > docs/settings.md"


def test_every_key_is_documented_and_on_the_page() -> None:
    page = render_reference()
    for section in sections():
        assert section.__doc__
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"
            assert f"| `{field.alias or name}` |" in page


def test_the_page_has_every_place_of_a_section() -> None:
    page = render_reference()
    for heading in (
        "## `backends.NAME` (`kind: fake`)",
        "## `limits.user`, `limits.project`, `limits.site`, `limits.users.NAME`, `limits.projects.NAME`",
        "## `login`",
    ):
        assert heading in page


def test_this_test_sets_every_key() -> None:
    given = set(known_keys(()))
    assert {line.split(":")[0] for line in EVERYTHING.splitlines() if line and not line.startswith(" ")} == given


def test_the_schema_accepts_what_is_accepted() -> None:
    from ruamel.yaml import YAML

    schema = make_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(YAML(typ="safe").load(EVERYTHING), schema)
    jsonschema.validate({}, schema)
    json.dumps(schema)


@pytest.mark.parametrize(
    "wrong",
    [
        {"urll": "x"},
        {"sizes": {"s": {"cores": 1}}},
        {"sizes": {"s": {"cores": 1, "memory": "2Q"}}},
        {"backends": {"x": {"kind": "slrm"}}},
        {"database": {"file": "x", "env": "y"}},
        {"backends": {"x": {"kind": "kubernetes", "image": {"env": "x", "file": "y"}}}},
        {"currency": "euro"},
        {"keep_logs": "forever"},
    ],
)
def test_the_schema_refuses_what_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, make_schema())


def test_what_is_shown_reads_back_to_the_same_settings() -> None:
    settings = everything()
    again = parse_settings(render_settings(settings).encode(), "shown", Path("/"), {})
    assert again.model_dump(mode="json") == settings.model_dump(mode="json")
    assert again.sizes == settings.sizes
    assert again.limits == settings.limits
    assert again.backends == settings.backends


def test_what_is_shown_of_defaults_reads_back() -> None:
    settings = complete(Settings(), Machine(2000, 4 << 30, Path("/opt")))
    assert parse_settings(render_settings(settings).encode(), "shown", Path("/"), {}).sizes == settings.sizes


def test_nothing_shown_has_a_secret_in_it() -> None:
    settings = everything()
    assert settings.database == "postgresql://ana:hunter2@db/x"
    for shown in (render_settings(settings), repr(settings), str(settings), settings.model_dump_json()):
        assert "hunter2" not in shown
        assert "openid" in shown


def test_every_secret_key_takes_references() -> None:
    keys = {
        (name,)
        for name, field in Settings.model_fields.items()
        if SecretText in getattr(field.annotation, "__args__", ())
    }
    assert keys | {("login", "config")} == set(SECRET_PLACES)
