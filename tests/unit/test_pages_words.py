"""Amounts, prices and times as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan_hub.look import words

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("micros", "said"),
    [
        (0, "0.00 EUR"),
        (250_000, "0.25 EUR"),
        (62_500, "0.0625 EUR"),
        (1, "0.000001 EUR"),
        (1_234_500_000, "1,234.50 EUR"),
    ],
)
def test_a_price_is_exact(micros: int, said: str) -> None:
    assert words.price(micros, "EUR") == said


@pytest.mark.parametrize(
    ("micros", "said"),
    [
        (0, "0.00 EUR"),
        (1, "under 0.01 EUR"),
        (9_999, "under 0.01 EUR"),
        (10_000, "0.01 EUR"),
        (14_999, "0.01 EUR"),
        (15_000, "0.02 EUR"),
        (1_995_000, "2.00 EUR"),
        (12_345_678_900, "12,345.68 EUR"),
    ],
)
def test_a_cost_is_rounded_to_the_cent(micros: int, said: str) -> None:
    assert words.cost(micros, "EUR") == said


@given(st.integers(min_value=0, max_value=10**15))
def test_a_price_reads_back_to_what_it_was(micros: int) -> None:
    whole, _, decimals = words.price(micros, None).replace(",", "").partition(".")
    assert int(whole) * 1_000_000 + int(decimals.ljust(6, "0")) == micros


@pytest.mark.parametrize(
    ("cores_milli", "memory_bytes", "gpus", "said"),
    [
        (1000, 1 << 30, 0, ["1 core", "1 GiB"]),
        (500, 512 << 20, 0, ["0.5 cores", "512 MiB"]),
        (1500, 3 << 29, 1, ["1.5 cores", "1.5 GiB", "1 GPU"]),
        (2_000_000, 1 << 42, 16, ["2,000 cores", "4,096 GiB", "16 GPUs"]),
    ],
)
def test_resources(cores_milli: int, memory_bytes: int, gpus: int, said: list[str]) -> None:
    assert words.resources(cores_milli, memory_bytes, gpus) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "under a minute"),
        (59, "under a minute"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (12_000, "3 h 20 min"),
        (86_400 + 300, "1 d"),
        (2 * 86_400 + 4 * 3600, "2 d 4 h"),
    ],
)
def test_elapsed_says_two_units_at_most(seconds: int, said: str) -> None:
    assert words.elapsed(NOW - timedelta(seconds=seconds), NOW) == said
