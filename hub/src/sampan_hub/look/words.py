"""Amounts, prices and times as people read them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

GIB = 1 << 30
MIB = 1 << 20
_MICROS = 1_000_000
_CENT = 10_000


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 core`, `2 cores`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def cores(cores_milli: int) -> str:
    """`1 core`, `0.5 cores`, `12 cores`."""
    text = f"{cores_milli / 1000:,.3f}".rstrip("0").rstrip(".")
    return f"{text} {'core' if cores_milli == 1000 else 'cores'}"


def memory(amount_bytes: int) -> str:
    """`512 MiB`, `2 GiB`, `1.5 GiB`."""
    if amount_bytes < GIB:
        return f"{round(amount_bytes / MIB):,} MiB"
    return f"{amount_bytes / GIB:,.1f}".removesuffix(".0") + " GiB"


def resources(cores_milli: int, memory_bytes: int, gpus: int) -> list[str]:
    """What one gets, a phrase each; GPUs only where there are any."""
    return [cores(cores_milli), memory(memory_bytes), *([count(gpus, "GPU")] if gpus else [])]


def price(micros: int, currency: str | None) -> str:
    """Exact, with at least two decimals: `0.25 EUR`, `0.0625 EUR`."""
    whole, rest = divmod(micros, _MICROS)
    decimals = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{whole:,}.{decimals} {currency or ''}".strip()


def cost(micros: int, currency: str | None) -> str:
    """To the cent, halves up; `under 0.01 EUR` for what is less and not nothing."""
    if 0 < micros < _CENT:
        return f"under {price(_CENT, currency)}"
    whole, cents = divmod((micros + _CENT // 2) // _CENT, 100)
    return f"{whole:,}.{cents:02d} {currency or ''}".strip()


def elapsed(since: datetime, now: datetime) -> str:
    """`under a minute`, `5 min`, `3 h 20 min`, `2 d 4 h`."""
    minutes = max(timedelta(), now - since) // timedelta(minutes=1)
    if minutes < 1:
        return "under a minute"
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min")]
    first = next(index for index, (amount, _) in enumerate(parts) if amount)
    return " ".join(f"{amount} {unit}" for amount, unit in parts[first : first + 2] if amount)


def moment(at: datetime, now: datetime) -> str:
    """`14:05 UTC`; with its day where that is not today: `Tue 5 May 14:05 UTC`."""
    utc = at.astimezone(UTC)
    day = "" if utc.date() == now.astimezone(UTC).date() else f"{utc:%a} {utc.day} {utc:%b} "
    return f"{day}{utc:%H:%M} UTC"
