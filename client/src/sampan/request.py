"""The arguments of `Cluster` turned into what a host is asked. Pure but for the defaults it reads from this process."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from dask.utils import parse_timedelta

from sampan import parity
from sampan.host.options import DEFAULT_SIZE, Options
from sampan.rundir import NAME

Workers = int | Mapping[str, int] | None
Adapt = bool | tuple[int, int | None] | Mapping[str, int] | None


def make_options(
    workers: Workers,
    size: str | None,
    *,
    name: str | None,
    adapt: Adapt,
    project: str | None,
    backend: str | None,
    env: str | None,
    idle_timeout: str | float,
) -> Options:
    """One cluster as asked for; ValueError names the argument that makes no sense."""
    if workers is not None and adapt:
        raise ValueError("workers and adapt: give a fixed number or an adapting range, not both")
    if name is not None and not NAME.match(name):
        raise ValueError(f"name {name!r}: expected lower-case letters, digits and . _ -, at most 63, e.g. 'flights'")
    environment, interpreter = make_environment(env)
    counts = {} if workers is None else make_counts(workers, size)
    return Options(
        name=name or f"cluster-{secrets.token_hex(3)}",
        workers=counts,
        adapt=make_range(adapt) if workers is None else None,
        size=size or DEFAULT_SIZE,
        project=project,
        backend=backend,
        environment=environment,
        interpreter=interpreter,
        folder=str(Path.cwd()),
        idle_timeout_s=float(parse_timedelta(idle_timeout, default="s")),
        versions=parity.versions(),
    )


def make_counts(n: int | Mapping[str, int], size: str | None = None) -> dict[str, int]:
    """Size -> count. A plain number is of the cluster's own size."""
    counts = dict(n) if isinstance(n, Mapping) else {size or DEFAULT_SIZE: n}
    for each in counts.values():
        if isinstance(each, bool) or not isinstance(each, int) or each < 0:
            raise ValueError(f"workers: expected a whole number from 0, or sizes with such numbers, got {n!r}")
    return counts


def make_range(adapt: Adapt) -> tuple[int, int | None]:
    """(minimum, maximum); no maximum: what one may have."""
    if adapt is None or isinstance(adapt, bool):
        return (0, None)
    minimum, maximum = (adapt.get("minimum", 0), adapt.get("maximum")) if isinstance(adapt, Mapping) else adapt
    if minimum < 0 or (maximum is not None and maximum < max(minimum, 1)):
        raise ValueError(f"adapt: expected (minimum, maximum) with 0 ≤ minimum ≤ maximum, got {adapt!r}")
    return (minimum, maximum)


def make_environment(env: str | None) -> tuple[str | None, str | None]:
    """(environment name, interpreter path): this kernel's interpreter unless another environment is asked for."""
    if env is None:
        return None, sys.executable
    path = Path(env).expanduser()
    if not path.is_absolute():
        return env, None
    interpreter = path / "bin" / "python" if path.is_dir() else path
    if not interpreter.exists():
        raise ValueError(f"env {env!r}: there is no {interpreter}")
    return None, str(interpreter)
