"""The table of legal moves."""

from __future__ import annotations

from sampan_hub.jobs.model import MOVES, State, is_legal


def test_every_state_has_its_moves() -> None:
    assert set(MOVES) == set(State)


def test_what_ended_never_moves_again() -> None:
    assert MOVES[State.ENDED] == frozenset()
    assert [state for state in State if is_legal(State.ENDED, state)] == [State.ENDED]


def test_every_state_can_end_and_none_but_a_silent_submit_goes_back_to_accepted() -> None:
    assert all(is_legal(state, State.ENDED) for state in State)
    back = {state for state in State if State.ACCEPTED in MOVES[state]}
    assert back == {State.SUBMITTING}


def test_a_stop_on_its_way_is_not_taken_back() -> None:
    assert MOVES[State.STOPPING] == frozenset({State.ENDED})
