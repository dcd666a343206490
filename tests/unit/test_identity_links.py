"""Login links: hashed, private, single use, and expiring."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sampan_hub.identity.links import ONCE_LASTS, has_personal_link, link_url, make_link, purge, redeem, revoke
from sampan_hub.settings.paths import StatePaths

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    return StatePaths(tmp_path)


def test_a_once_link_works_once(paths: StatePaths) -> None:
    secret = make_link(paths, "ana", "once", NOW)
    assert redeem(paths, secret, NOW) == "ana"
    assert redeem(paths, secret, NOW) is None


def test_of_many_at_the_same_time_one_gets_in(paths: StatePaths) -> None:
    secret = make_link(paths, "ana", "once", NOW)
    with ThreadPoolExecutor(16) as pool:
        names = list(pool.map(lambda _: redeem(paths, secret, NOW), range(64)))
    assert names.count("ana") == 1
    assert names.count(None) == 63


def test_an_unused_once_link_expires_after_15_minutes(paths: StatePaths) -> None:
    assert timedelta(minutes=15) == ONCE_LASTS
    early, late = (make_link(paths, "ana", "once", NOW) for _ in range(2))
    assert redeem(paths, early, NOW + ONCE_LASTS - timedelta(seconds=1)) == "ana"
    assert redeem(paths, late, NOW + ONCE_LASTS) is None
    assert not list(paths.links.iterdir()), "an expired link is removed when it is tried"


def test_a_personal_link_works_until_revoked(paths: StatePaths) -> None:
    secret = make_link(paths, "ben", "personal", NOW)
    other = make_link(paths, "ana", "personal", NOW)
    assert [redeem(paths, secret, NOW + timedelta(days=n)) for n in range(3)] == ["ben"] * 3
    assert has_personal_link(paths, "ben")
    assert revoke(paths, "ben") == 1
    assert redeem(paths, secret, NOW) is None
    assert not has_personal_link(paths, "ben")
    assert redeem(paths, other, NOW) == "ana"


def test_the_secret_is_kept_nowhere_and_the_files_are_private(paths: StatePaths) -> None:
    secret = make_link(paths, "ana", "personal", NOW)
    assert len(secret) >= 22, "128 bits at least"
    assert stat.S_IMODE(paths.links.stat().st_mode) == 0o700
    (kept,) = paths.links.iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert secret not in kept.read_text()
    assert secret not in kept.name


def test_purge_removes_what_expired_and_nothing_else(paths: StatePaths) -> None:
    make_link(paths, "ana", "once", NOW - timedelta(hours=1))
    fresh = make_link(paths, "ana", "once", NOW)
    personal = make_link(paths, "ana", "personal", NOW - timedelta(days=400))
    assert purge(paths, NOW) == 1
    assert redeem(paths, fresh, NOW) == "ana"
    assert redeem(paths, personal, NOW) == "ana"


@pytest.mark.parametrize("secret", ["", "x", "../../etc/passwd", "a" * 43, "a" * 4000, "ü" * 43, "a\x00" * 20])
def test_anything_else_gets_nothing(paths: StatePaths, secret: str) -> None:
    make_link(paths, "ana", "personal", NOW)
    assert redeem(paths, secret, NOW) is None


def test_a_damaged_file_lets_nobody_in(paths: StatePaths) -> None:
    secret = make_link(paths, "ana", "personal", NOW)
    (kept,) = paths.links.iterdir()
    for content in ("", "[]", "{}", '{"name": "ana", "kind": "forever", "created_at": "x", "expires_at": null}'):
        kept.write_text(content)
        assert redeem(paths, secret, NOW) is None


def test_the_url_has_one_slash_before_hub(paths: StatePaths) -> None:
    assert link_url("http://127.0.0.1:8000/", "s") == "http://127.0.0.1:8000/hub/link?token=s"
    assert link_url("https://example.org/sampan/", "s") == "https://example.org/sampan/hub/link?token=s"
