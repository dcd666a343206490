"""The supervisor's decisions and files: restarts, ports, logs, rosters."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from sampan_hub.cli.supervise.backoff import LONGEST_S, LOOP_ENDS, WINDOW_S, End, decide_restart
from sampan_hub.cli.supervise.logs import cap_log, open_log, read_tail
from sampan_hub.cli.supervise.ports import is_free, read_ephemeral_range, read_ports, settle_ports
from sampan_hub.cli.supervise.roster import RosterError, parse_roster


def test_a_process_that_worked_is_started_at_once() -> None:
    assert decide_restart([End(10, was_ready=True)], 10).delay_s == 0


def test_failures_slow_down_and_become_a_crash_loop() -> None:
    ends = [End(float(at), was_ready=False) for at in range(LOOP_ENDS)]
    delays = [decide_restart(ends[: count + 1], float(count)).delay_s for count in range(LOOP_ENDS)]
    assert delays == sorted(delays)
    assert delays[0] > 0
    assert not decide_restart(ends[:-1], LOOP_ENDS).is_crash_loop
    assert decide_restart(ends, LOOP_ENDS).is_crash_loop


def test_the_delay_has_an_end_and_the_past_is_forgotten() -> None:
    many = [End(0, was_ready=False)] * 1000
    assert decide_restart(many, 1).delay_s == LONGEST_S
    assert decide_restart(many, WINDOW_S + 1).delay_s == 0


def test_readiness_clears_earlier_failures() -> None:
    ends = [End(1, was_ready=False)] * LOOP_ENDS + [End(2, was_ready=True)]
    assert not decide_restart(ends, 2).is_crash_loop


def test_ports_are_chosen_once(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    first = settle_ports(path, 8000, set())
    assert settle_ports(path, 8000, set()) == first == read_ports(path)
    assert len({first.public, first.proxy_api, first.hub, first.service}) == 4
    assert not {first.proxy_api, first.hub, first.service} & set(read_ephemeral_range())
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_taken_port_is_replaced_and_the_others_kept(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    first = settle_ports(path, 8000, set())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first.hub))
        taken.listen()
        assert not is_free("127.0.0.1", first.hub)
        assert settle_ports(path, 8000, {"hub"}) == first, "our own hub holds it"
        second = settle_ports(path, 8000, set())
    assert second.hub != first.hub
    assert (second.service, second.proxy_api) == (first.service, first.proxy_api)


def test_a_new_public_port_may_be_an_internal_one(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    first = settle_ports(path, 8000, set())
    second = settle_ports(path, first.service, set())
    assert second.service != first.service


def test_a_log_is_cut_in_place_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "hub.log"
    descriptor = open_log(path)
    try:
        os.write(descriptor, b"a" * 600 + b"b" * 500)
        assert cap_log(path, 1000)
        os.write(descriptor, b"after\n")
    finally:
        os.close(descriptor)
    assert path.read_bytes() == b"after\n"
    assert (tmp_path / "hub.log.1").read_bytes() == b"b" * 500
    assert path.stat().st_mode & 0o777 == (tmp_path / "hub.log.1").stat().st_mode & 0o777 == 0o600
    assert not cap_log(path, 1000)


def test_the_tail_of_a_log(tmp_path: Path) -> None:
    path = tmp_path / "hub.log"
    assert read_tail(path, 3) == []
    path.write_text("one\n\ntwo\nthree\n")
    assert read_tail(path, 2) == ["two", "three"]


def test_a_roster_is_names_on_lines() -> None:
    assert parse_roster("# class of spring\nana\n\n  ben  # late\n", "roster.txt") == ["ana", "ben"]


def test_every_fault_of_a_roster_is_named_with_its_line() -> None:
    with pytest.raises(RosterError) as raised:
        parse_roster("ana\nBen\nana\n../etc\n", "roster.txt")
    text = str(raised.value)
    assert "roster.txt:2: 'Ben'" in text
    assert "roster.txt:3: 'ana' is already on line 1" in text
    assert "roster.txt:4: '../etc'" in text
    assert "Nobody was added" in text
