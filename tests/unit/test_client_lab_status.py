"""What the JupyterLab extension is told: cached, shared, and true when the service is away."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sampan.errors import Refused, ServiceUnavailable
from sampan.lab.status import StatusReader, make_status, work_url

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


class Service:
    """Answers, or fails as told; counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None

    async def __call__(self) -> dict[str, Any]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return {"jobs": self.asked, "idle_end_at": None}


async def test_many_tabs_are_one_question() -> None:
    service = Service()
    reader = StatusReader(service)
    answers = await asyncio.gather(*(reader.read() for _ in range(10)))
    assert service.asked == 1
    assert {answer["session"]["jobs"] for answer in answers} == {1}
    assert (await reader.read(max_age_s=0))["session"]["jobs"] == 2


async def test_a_service_that_is_away_is_part_of_the_answer() -> None:
    service = Service()
    reader = StatusReader(service)
    await reader.read()
    service.error = ServiceUnavailable("gone")
    first, second = await reader.read(max_age_s=0), await reader.read(max_age_s=0)
    assert first["session"] == {"jobs": 1, "idle_end_at": None}
    assert 0 <= first["unreachable_s"] <= second["unreachable_s"]
    service.error = None
    assert (await reader.read(max_age_s=0))["unreachable_s"] is None


async def test_a_service_that_has_nothing_to_tell_is_not_away() -> None:
    service = Service()
    service.error = Refused("no such route", status=404)
    answer = await StatusReader(service).read()
    assert answer == {"session": None, "unreachable_s": None, "idle_in_s": None, "ends_in_s": None}


@pytest.mark.parametrize(("end", "told"), [("idle_end_at", "idle_in_s"), ("deadline", "ends_in_s")])
def test_an_end_is_told_as_time_left(end: str, told: str) -> None:
    def left(**delta: float) -> Any:
        at = NOON + timedelta(**delta)
        return make_status({end: at.isoformat().replace("+00:00", "Z")}, None, NOON)[told]

    assert left(minutes=5) == 300
    assert left(minutes=-1) == 0
    assert make_status({end: None}, None, NOON)[told] is None


def test_my_work_is_below_the_path_that_people_come_in_by() -> None:
    assert work_url({"JUPYTERHUB_BASE_URL": "/lab/"}) == "/lab/services/sampan/work"
    assert work_url({}) == "/services/sampan/work"
