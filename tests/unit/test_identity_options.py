"""Start options: four fields, known values, whatever way they come."""

from __future__ import annotations

from typing import Any

import pytest

from sampan_hub.identity.form import render_form, where_to_start
from sampan_hub.identity.options import OptionRefused, check_options, parse_form
from sampan_hub.settings.model import Environment, LocalBackend, Project, Settings, Size

SIZES = {"small": Size(cores=1, memory="1G"), "big": Size(cores=8, memory="16G", price_per_hour="1.25")}
PLAIN = Settings(sizes=SIZES, environments={"default": Environment(prefix="/opt/env")}, currency="EUR")
PROJECTS = PLAIN.model_copy(
    update={"projects": {"open": Project(sizes=("small",)), "closed": Project(members=("ana",), tenant="acme")}}
)
PLACES = Settings(
    sizes=SIZES,
    environments=PLAIN.environments,
    currency="EUR",
    backends={"local": LocalBackend(cores=4.0, memory="8G"), "far": {"kind": "fake"}, "old": {"kind": "fake"}},
    projects={"open": Project(backends=("far", "local")), "closed": Project(backends=("old",))},
)


@pytest.mark.parametrize(
    ("options", "field", "said"),
    [
        ({"size": "nope"}, "size", "small, big"),
        ({"size": ["small"]}, "size", "small, big"),
        ({"size": 1}, "size", "small, big"),
        ({"size": {"$ne": 1}}, "size", "small, big"),
        ({"cmd": ["id"]}, "cmd", "size, project, environment, backend"),
        ({"env": {"A": "1"}}, "env", "size, project, environment, backend"),
        ({"size": "small", "environment": "/tmp/mine"}, "environment", "default"),
        ({"project": "other"}, "project", "personal"),
        ({"project": ["personal"], "size": "small"}, "project", "personal"),
        ({"backend": "cloud"}, "backend", "local"),
        ({"size": "nope", "backend": {"$ne": 1}}, "backend", "local"),
    ],
)
def test_what_is_not_allowed_is_refused_by_name(options: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(OptionRefused) as caught:
        check_options(PLAIN, "ana", options)
    assert caught.value.field == field
    assert field in str(caught.value)
    assert said in str(caught.value)


def test_what_is_allowed_passes_as_it_is() -> None:
    assert check_options(PLAIN, "ana", {}) == {}
    asked = {"size": "big", "project": "personal", "environment": "default"}
    assert check_options(PLAIN, "ana", asked) == asked
    assert check_options(PLAIN, "ana", {"size": None}) == {}


def test_projects_are_for_their_members_and_sizes() -> None:
    assert check_options(PROJECTS, "ana", {"project": "closed", "size": "big"}) == {"project": "closed", "size": "big"}
    with pytest.raises(OptionRefused, match="project: 'closed' is not allowed; allowed: open"):
        check_options(PROJECTS, "ben", {"project": "closed"})
    with pytest.raises(OptionRefused, match="size: 'big' is not allowed; allowed: small"):
        check_options(PROJECTS, "ben", {"size": "big"})


def test_a_form_gives_single_texts_and_leaves_out_the_empty() -> None:
    form = {"size": ["small"], "project": [""], "_xsrf": ["2|x"], "cmd": ["id", "ls"]}
    assert parse_form(form) == {"size": "small", "cmd": ["id", "ls"]}


def test_a_long_value_is_not_repeated_whole() -> None:
    with pytest.raises(OptionRefused) as caught:
        check_options(PLAIN, "ana", {"size": "x" * 100_000})
    assert len(str(caught.value)) < 200


def test_the_form_shows_each_size_with_its_price_and_chooses_one() -> None:
    offers = {
        "default_size": "small",
        "paused": "Back at noon <b>",
        "sizes": [{"name": "small", "free_now": 3, "allowed_now": 2}, {"name": "big", "free_now": 0, "allowed_now": 0}],
    }
    html = render_form(PLAIN, "ana", {}, {("personal", "local"): offers})
    assert html.count('type="radio"') == 2
    assert 'value="small" required checked' in " ".join(html.split())
    assert "1.25 EUR per hour" in html
    assert "over your limit now" in html
    assert "Back at noon &lt;b&gt;" in html
    assert "<select" not in html, "no choice, no field"


def test_the_form_stands_without_the_service() -> None:
    html = render_form(PROJECTS, "ana", {"size": "gone"}, {})
    assert "does not answer" in html
    assert 'value="small"' in html
    assert 'value="big"' in html, "one of the person's projects may use it"
    assert '<option value="closed"' in html
    assert 'value="big"' not in render_form(PROJECTS, "ben", {}, {})


def test_a_project_runs_on_its_backends() -> None:
    asked = {"size": "big", "project": "open", "backend": "far"}
    assert check_options(PLACES, "ana", asked) == asked
    with pytest.raises(OptionRefused, match="backend: 'old' is not allowed; allowed: local, far"):
        check_options(PLACES, "ana", {"backend": "old"})
    with pytest.raises(OptionRefused, match="backend: 'local' is not allowed; allowed: old"):
        check_options(PLACES, "ana", {"backend": "local", "project": "closed"})
    assert where_to_start(PLACES, "ana") == [("open", "local"), ("open", "far"), ("closed", "old")]


@pytest.mark.parametrize("chosen", [{"backend": "local"}, {}])
def test_a_size_that_a_backend_never_holds_is_refused_with_the_cause(chosen: dict[str, str]) -> None:
    with pytest.raises(OptionRefused) as caught:
        check_options(PLACES, "ana", {"size": "big", **chosen})
    assert str(caught.value) == "size: 'big' needs more than local gives out; allowed: small."
    assert caught.value.allowed == ("small",)


def test_where_it_runs_can_be_chosen_where_there_is_a_choice() -> None:
    offers = {
        ("open", "local"): {"sizes": [{"name": "small", "free_now": 0, "allowed_now": 9}], "waiting": 4},
        ("open", "far"): {"sizes": [{"name": "small", "free_now": 7, "allowed_now": 9}], "waiting": 0},
    }
    html = " ".join(render_form(PLACES, "ana", {"backend": "far", "size": "big"}, offers).split())
    assert html.count('name="backend"') == 1, "only the one project has a choice"
    assert '<option value="far" selected>' in html
    local, far = html[html.index('data-sampan-backend="local"') :].split('data-sampan-backend="far"')
    assert local.startswith('data-sampan-backend="local" hidden disabled')
    assert "queues, position 5" in local
    assert 'value="big"' not in local
    assert "starts at once, 7 free now" in far
    assert html.count("required checked") == 1
    assert 'value="big" required checked' in far
