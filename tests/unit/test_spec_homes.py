"""People who share one system user each have a folder of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan_hub.jobs.spec import Place


@pytest.mark.parametrize(
    ("owner", "name"),
    [("ana", "ana"), ("a.b@lab.org", "a.b@lab.org"), ("../eve", "..%2Feve"), ("..", "%2E%2E"), (".", "%2E")],
)
def test_a_name_is_one_folder_below_the_others(owner: str, name: str) -> None:
    place = Place("http://s", lambda _: 1000, homes=Path("/people"))
    assert place.home_of(owner) == Path("/people") / name


def test_where_everybody_is_somebody_the_home_is_their_own() -> None:
    assert Place("http://s", lambda _: 1000).home_of("ana") is None
