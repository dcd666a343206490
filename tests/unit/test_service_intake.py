"""Intake: what is left open is chosen, what is wrong is named."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sampan_hub.jobs.drafts import BatchDraft
from sampan_hub.jobs.model import Cluster, ClusterState, Job, Kind, Resources
from sampan_hub.service.auth import Caller
from sampan_hub.service.intake import Site, make_batch_draft, make_cluster_draft
from sampan_hub.service.problems import ApiProblem
from sampan_hub.service.wire import ClusterRequest, SubmitRequest
from sampan_hub.settings.model import Environment, LocalBackend, Project, Settings, Size

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
HUB = Caller("hub", "hub")
ANA = Caller("user", "ana", owner="ana")
SETTINGS = Settings(
    sizes={"small": Size(cores=1, memory="1G"), "big": Size(cores=4.5, memory="4G", gpus=1, price_per_hour="1.25")},
    environments={"default": Environment(prefix=Path("/env")), "other": Environment(prefix=Path("/other"))},
    backends={"local": LocalBackend(cores=4.0), "more": {"kind": "fake"}},
    currency="EUR",
)
CLUSTER = Cluster(
    id="k7c2m4qa.cdefgh234567abcd",
    name="calc",
    owner="ana",
    project="personal",
    parent="k7c2m4qa.abcdefgh234567ab",
    size="big",
    backend="more",
    created_at=NOON,
    state=ClusterState.RUNNING,
    state_since=NOON,
)
NOTEBOOK = Job(
    id="k7c2m4qa.abcdefgh234567ab",
    kind=Kind.NOTEBOOK,
    name="",
    owner="ana",
    project="personal",
    size="small",
    resources=Resources(1000, 2**30),
    environment="other",
    backend="more",
    batch="b",
    index=0,
    created_at=NOON,
)
HOST = Caller("scheduler", CLUSTER.id, owner="ana", cluster=CLUSTER)
FROM_NOTEBOOK = Caller("notebook", NOTEBOOK.id, owner="ana", job=NOTEBOOK)


def draft(
    caller: Caller = HUB,
    cluster: Cluster | None = None,
    items: list[dict[str, Any]] | None = None,
    settings: Settings = SETTINGS,
    **base: Any,
) -> BatchDraft:
    kind = {"kind": "notebook", "owner": "ana"} if caller is HUB else {"kind": "worker"}
    request = {"batch": "a-batch-key", "base": {**kind, **base}, "items": items or [{"name": "one"}]}
    environment = caller.job.environment if caller.job else None
    site = Site(settings, lambda path: path == "/usr/bin/python3", environment)
    return make_batch_draft(SubmitRequest.model_validate(request), caller, cluster, site)


def refused(*arguments: Any, **changes: Any) -> tuple[str | None, list[str] | None]:
    with pytest.raises(ApiProblem) as caught:
        draft(*arguments, **changes)
    return caught.value.problem.field, caught.value.problem.allowed


def test_what_is_left_open_is_the_first_of_each() -> None:
    made = draft()
    assert (made.owner, made.project, made.tenant) == ("ana", "personal", "ana")
    assert (made.environment, made.backend, made.submitter) == ("default", "local", "hub:hub")
    assert [(item.size, item.resources) for item in made.items] == [("small", Resources(1000, 2**30))]


def test_a_size_brings_its_resources_and_price() -> None:
    item = draft(size="big", backend="more").items[0]
    assert (item.resources, item.price_micros_per_hour) == (Resources(4500, 4 * 2**30, 1), 1_250_000)


def test_an_items_size_goes_before_the_batchs_and_the_clusters() -> None:
    items = [{"name": "a", "size": "small"}, {"name": "b"}]
    assert [item.size for item in draft(HOST, CLUSTER, items=items).items] == ["small", "big"]
    assert [item.size for item in draft(HOST, CLUSTER, items=items, size="small").items] == ["small", "small"]


def test_a_worker_takes_after_its_cluster() -> None:
    made = draft(HOST, CLUSTER)
    assert (made.parent, made.cluster, made.backend) == (CLUSTER.parent, CLUSTER.id, "more")
    assert (made.kind, made.owner, made.submitter) == (Kind.WORKER, "ana", f"scheduler:{CLUSTER.id}")


def test_workers_of_a_notebook_get_its_environment() -> None:
    assert draft(FROM_NOTEBOOK, CLUSTER).environment == "other"


def test_a_worker_needs_a_cluster() -> None:
    assert refused(ANA)[0] == "base.cluster"


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "x" * 129])
def test_a_workers_name_is_one_dask_and_shells_can_bear(name: str) -> None:
    assert refused(HOST, CLUSTER, items=[{"name": name}])[0] == "items.0.name"


@pytest.mark.parametrize("caller", [ANA, HOST, FROM_NOTEBOOK])
def test_only_the_hub_names_an_owner(caller: Caller) -> None:
    assert refused(caller, CLUSTER, owner="ana")[0] == "base.owner"


def test_the_command_line_owns_nothing() -> None:
    with pytest.raises(ApiProblem) as caught:
        draft(Caller("admin", "cli", admin=True), CLUSTER)
    assert caught.value.problem.status == 403


def test_projects_bound_members_and_sizes() -> None:
    projects = {"lab": Project(members=("ben",)), "common": Project(tenant="house", sizes=("small",))}
    settings = SETTINGS.model_copy(update={"projects": projects})
    made = draft(settings=settings)
    assert (made.project, made.tenant) == ("common", "house")
    assert refused(settings=settings, project="lab") == ("base.project", ["common"])
    assert refused(settings=settings, size="big") == ("base.size", ["small"])
    only_ben = SETTINGS.model_copy(update={"projects": {"lab": projects["lab"]}})
    with pytest.raises(ApiProblem) as caught:
        draft(settings=only_ben)
    assert caught.value.problem.code == "no-project"


def test_a_local_interpreter_exists_elsewhere_it_cannot_be_seen() -> None:
    assert draft(interpreter="/usr/bin/python3").options["interpreter"] == "/usr/bin/python3"
    assert refused(interpreter="/nowhere/python3")[0] == "base.interpreter"
    assert refused(interpreter="python3")[0] == "base.interpreter"
    assert draft(backend="more", interpreter="/nowhere/python3").backend == "more"


@pytest.mark.parametrize("name", ["SAMPAN_JOB", "LD_PRELOAD", "LD_AUDIT", "PATH", "HOME", "PYTHONHOME", "BASH_ENV"])
def test_variables_that_are_ours_cannot_be_given(name: str) -> None:
    assert refused(env={name: "x"})[0] == f"base.env.{name}"
    assert refused(HOST, CLUSTER, env={name: "x"})[0] == f"base.env.{name}"


def test_the_hubs_variables_are_the_hubs() -> None:
    assert draft(env={"JUPYTERHUB_USER": "ana"}).options["env"] == {"JUPYTERHUB_USER": "ana"}
    assert refused(HOST, CLUSTER, env={"JUPYTERHUB_API_TOKEN": "x"})[0] == "base.env.JUPYTERHUB_API_TOKEN"


def test_secrets_stay_out_of_what_is_shown() -> None:
    made = draft(secrets={"JUPYTERHUB_API_TOKEN": "hidden"})
    assert made.secrets == {"JUPYTERHUB_API_TOKEN": "hidden"}
    assert "hidden" not in str(made.options)


def test_ten_thousand_at_once_and_no_more() -> None:
    items = [{"name": f"w{number}"} for number in range(10_000)]
    assert len(draft(HOST, CLUSTER, items=items).items) == 10_000
    with pytest.raises(ValueError, match="10000"):
        draft(HOST, CLUSTER, items=[*items, {"name": "one-more"}])


def test_a_cluster_takes_after_its_notebook() -> None:
    made = make_cluster_draft(ClusterRequest(name="calc"), FROM_NOTEBOOK, SETTINGS)
    assert (made.owner, made.parent, made.backend, made.project) == ("ana", NOTEBOOK.id, "more", "personal")
    assert (made.tenant, made.size) == ("ana", "small")
    with pytest.raises(ApiProblem) as caught:
        make_cluster_draft(ClusterRequest(name="calc", size="nope"), FROM_NOTEBOOK, SETTINGS)
    assert (caught.value.problem.field, caught.value.problem.allowed) == ("size", ["small", "big"])


def changed(**changes: Any) -> Settings:
    return Settings.model_validate(SETTINGS.model_dump() | changes)


FEEDING = changed(
    backends={
        "local": {"workers_on": ["local", "more"]},
        "more": {"kind": "fake", "workers_on": ["other"]},
        "other": {"kind": "fake"},
    }
)


def cluster_refused(settings: Settings, **request: Any) -> tuple[str | None, list[str] | None, str]:
    with pytest.raises(ApiProblem) as caught:
        make_cluster_draft(ClusterRequest(name="calc", **request), FROM_NOTEBOOK, settings)
    problem = caught.value.problem
    return problem.field, problem.allowed, problem.detail


def test_a_notebook_feeds_its_own_backend_unless_the_site_says_otherwise() -> None:
    detail = "A notebook on more may not have workers on local for the project 'personal'. Allowed: more."
    assert cluster_refused(SETTINGS, backend="local") == ("backend", ["more"], detail)
    assert cluster_refused(SETTINGS, backend="nowhere")[:2] == ("backend", ["more"])
    assert make_cluster_draft(ClusterRequest(name="calc"), FROM_NOTEBOOK, FEEDING).backend == "other"
    assert cluster_refused(FEEDING, backend="more")[:2] == ("backend", ["other"])
    here = Caller("notebook", NOTEBOOK.id, owner="ana", job=replace(NOTEBOOK, backend="local"))
    assert [
        make_cluster_draft(ClusterRequest(name="calc", backend=backend), here, FEEDING).backend
        for backend in (None, "local", "more")
    ] == ["local", "local", "more"]


def test_projects_bound_backends() -> None:
    settings = changed(projects={"lab": {"backends": ["more"]}, "shop": {"backends": ["local"]}})
    assert draft(settings=settings).backend == "more"
    assert refused(settings=settings, backend="local") == ("base.backend", ["more"])
    assert draft(settings=settings, project="shop").backend == "local"
    detail = "A notebook on more may not have workers anywhere for the project 'shop'. Allowed: nothing."
    assert cluster_refused(settings, project="shop") == ("backend", [], detail)


def test_a_size_that_a_backend_never_holds_is_refused_with_the_cause() -> None:
    assert refused(size="big") == ("base.size", ["small"])
    assert draft(size="big", backend="more").items[0].size == "big"
    assert draft(settings=changed(default_size="big")).items[0].size == "small"
    with pytest.raises(ApiProblem, match="'big' needs GPUs, and local has none"):
        make_cluster_draft(ClusterRequest(name="calc", size="big"), ANA, SETTINGS)


def test_workers_run_where_their_cluster_does() -> None:
    assert draft(HOST, CLUSTER, backend="more").backend == "more"
    assert refused(HOST, CLUSTER, backend="local") == ("base.backend", ["more"])
