"""Start options: three fields, known values, whatever way they come."""

from __future__ import annotations

from typing import Any

import pytest

from sampan_hub.identity.form import render_form
from sampan_hub.identity.options import OptionRefused, check_options, parse_form
from sampan_hub.settings.model import Environment, Project, Settings, Size

SIZES = {"small": Size(cores=1, memory="1G"), "big": Size(cores=8, memory="16G", gpus=1, price_per_hour="1.25")}
PLAIN = Settings(sizes=SIZES, environments={"default": Environment(prefix="/opt/env")}, currency="EUR")
PROJECTS = PLAIN.model_copy(
    update={"projects": {"open": Project(sizes=("small",)), "closed": Project(members=("ana",), tenant="acme")}}
)


@pytest.mark.parametrize(
    ("options", "field", "said"),
    [
        ({"size": "nope"}, "size", "small, big"),
        ({"size": ["small"]}, "size", "small, big"),
        ({"size": 1}, "size", "small, big"),
        ({"size": {"$ne": 1}}, "size", "small, big"),
        ({"cmd": ["id"]}, "cmd", "size, project, environment"),
        ({"env": {"A": "1"}}, "env", "size, project, environment"),
        ({"size": "small", "environment": "/tmp/mine"}, "environment", "default"),
        ({"project": "other"}, "project", "personal"),
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
    html = render_form(PLAIN, "ana", {}, {"personal": offers})
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
