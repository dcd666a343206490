"""Cookies that can be neither read nor made, and forms that only our own pages can send."""

from __future__ import annotations

import time

import pytest

from sampan_hub.service.pages.session import Seal

SEAL = Seal(b"k" * 32)
OTHER = Seal(b"x" * 32)


def test_what_is_sealed_opens_here_alone_and_shows_nothing() -> None:
    sealed = SEAL.close("a hub token")
    assert "hub" not in sealed
    assert SEAL.open(sealed, 60) == "a hub token"
    assert OTHER.open(sealed, 60) is None


@pytest.mark.parametrize("forged", [None, "", "a hub token", "gAAAA", "ünlesbar", "\x00"])
def test_what_was_not_sealed_here_does_not_open(forged: str | None) -> None:
    assert SEAL.open(forged, 60) is None


def test_a_seal_grows_old() -> None:
    sealed = SEAL.close("a hub token")
    now_s = time.time()
    assert SEAL.open(sealed, 60, now_s=now_s + 59) == "a hub token"
    assert SEAL.open(sealed, 60, now_s=now_s + 62) is None


def test_a_form_token_is_of_one_session_and_one_installation() -> None:
    assert SEAL.form_token("one") == SEAL.form_token("one")
    assert len({SEAL.form_token("one"), SEAL.form_token("two"), OTHER.form_token("one")}) == 3


def test_a_login_comes_back_to_the_browser_that_began_it() -> None:
    state, cookie = SEAL.begin_login("/services/sampan/work")
    other_state, _ = SEAL.begin_login("/services/sampan/work")
    assert SEAL.finish_login(cookie, state) == "/services/sampan/work"
    assert SEAL.finish_login(cookie, other_state) is None
    assert SEAL.finish_login(cookie, "") is None
    assert SEAL.finish_login(None, state) is None
    assert SEAL.finish_login(OTHER.begin_login("/")[1], state) is None


def test_a_session_cookie_is_no_login_cookie() -> None:
    assert SEAL.finish_login(SEAL.close("a hub token"), "state") is None
