"""Spellings of memory, durations, prices and secrets: exact, refusing, and reading back what they write."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from sampan_hub.settings.units import (
    DurationSeconds,
    ExactFloat,
    MemoryBytes,
    PriceMicros,
    SecretText,
    masked,
    render_duration,
    render_memory,
    render_price,
)

MEMORY = TypeAdapter(MemoryBytes)
DURATION = TypeAdapter(DurationSeconds)
PRICE = TypeAdapter(PriceMicros)
SECRET = TypeAdapter(SecretText)


@pytest.mark.parametrize(
    ("text", "amount_bytes"),
    [
        ("2G", 2 << 30),
        ("512M", 512 << 20),
        ("4 GiB", 4 << 30),
        ("4Gi", 4 << 30),
        ("1.5g", 3 << 29),
        ("2GB", 2_000_000_000),
        ("1T", 1 << 40),
        ("0", 0),
        ("100", 100),
        ("100 B", 100),
        (4096, 4096),
    ],
)
def test_memory_reads_what_people_write(text: object, amount_bytes: int) -> None:
    assert MEMORY.validate_python(text) == amount_bytes


@pytest.mark.parametrize(
    "text",
    ["", "G", "-1G", "2X", "2 G G", "1e3", "0.3", "1.00001K", True, 1.5, None, [], -1, "٢G", "9999999T", 1 << 61],
)
def test_memory_refuses_the_rest(text: Any) -> None:
    with pytest.raises(ValidationError, match="expected an amount of memory such as 2G or 512M"):
        MEMORY.validate_python(text)


@pytest.mark.parametrize(
    ("text", "duration_s"),
    [("20m", 1200), ("90s", 90), ("1h30m", 5400), ("7d", 604800), ("1d 2h", 93600), ("45", 45), (45, 45), ("0", 0)],
)
def test_duration_reads_what_people_write(text: object, duration_s: int) -> None:
    assert DURATION.validate_python(text) == duration_s


@pytest.mark.parametrize("text", ["", " ", "m", "20 minutes", "-5s", "1m1h", "1.5h", True, 1.5, None, -1, {}, 1 << 40])
def test_duration_refuses_the_rest(text: object) -> None:
    with pytest.raises(ValidationError, match="expected a duration such as 90s, 20m or 1h30m"):
        DURATION.validate_python(text)


@pytest.mark.parametrize(
    ("written", "micros"),
    [
        (1.25, 1_250_000),
        ("1.25", 1_250_000),
        (3, 3_000_000),
        ("0.000001", 1),
        (0, 0),
        (Decimal("0.1"), 100_000),
        (ExactFloat("0.3"), 300_000),
        (ExactFloat("900719925.474099"), 900_719_925_474_099),
        (ExactFloat("1_000.5"), 1_000_500_000),
    ],
)
def test_price_is_exact(written: object, micros: int) -> None:
    assert PRICE.validate_python(written) == micros


def test_price_keeps_digits_that_a_float_product_would_lose() -> None:
    assert PRICE.validate_python(ExactFloat("4.35")) == 4_350_000
    assert int(4.35 * 100) != 435  # the trap this type avoids


@pytest.mark.parametrize(
    "written", ["1,25", "0.0000001", -1, "-0.5", "nan", "inf", "1e400", 10**9, True, None, "", "€1", [1]]
)
def test_price_refuses_the_rest(written: object) -> None:
    with pytest.raises(ValidationError, match=r"expected a price such as 1\.25, with at most 6 decimals"):
        PRICE.validate_python(written)


@given(st.integers(0, 1 << 60))
def test_memory_reads_back_what_it_writes(amount_bytes: int) -> None:
    assert MEMORY.validate_python(render_memory(amount_bytes)) == amount_bytes


@given(st.integers(0, 3 * 10**9))
def test_duration_reads_back_what_it_writes(duration_s: int) -> None:
    assert DURATION.validate_python(render_duration(duration_s)) == duration_s


@given(st.integers(0, 10**15 - 1))
def test_price_reads_back_what_it_writes(micros: int) -> None:
    assert PRICE.validate_python(render_price(micros)) == micros


@given(st.text() | st.integers() | st.floats() | st.none() | st.lists(st.integers()))
def test_nothing_but_a_refusal_comes_out_of_odd_values(value: object) -> None:
    for adapter in (MEMORY, DURATION, PRICE):
        try:
            result = adapter.validate_python(value)
        except ValidationError:
            continue
        assert isinstance(result, int)
        assert result >= 0


def test_secret_is_its_text_and_shows_only_a_mask() -> None:
    secret = SECRET.validate_python("postgresql://ana:hunter2@db/sampan")
    assert secret == "postgresql://ana:hunter2@db/sampan"
    assert isinstance(secret, SecretText)
    assert "hunter2" not in repr(secret)
    assert "hunter2" not in repr({"config": [secret]})
    assert b"hunter2" not in SECRET.dump_json(secret)


def test_secret_refuses_what_is_no_text() -> None:
    for value in (5, None, "", {"file": "x"}):
        with pytest.raises(ValidationError):
            SECRET.validate_python(value)


def test_masked_reaches_into_lists_and_mappings() -> None:
    data = {"a": [SecretText("x"), "y"], "b": {"c": SecretText("x")}, "d": 1}
    assert masked(data) == {"a": ["**********", "y"], "b": {"c": "**********"}, "d": 1}
