"""Do two environments agree enough to share objects? Standard library only: asked before Dask is imported."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

EXACT = ("python", "dask", "distributed", "cloudpickle", "msgpack")
"""Must be equal: pickles and messages of one are not those of another. Python: major.minor."""
WARNED = ("numpy", "pandas", "pyarrow", "tornado", "toolz", "scipy", "lz4")
"""May differ, and then explain many a puzzling error: said, not refused."""
MISSING = "not installed"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs, one sentence each: `errors` forbid working together, `warnings` do not."""

    errors: tuple[str, ...]
    warnings: tuple[str, ...]


def versions() -> dict[str, str]:
    """This process's versions of everything that is compared; absent packages are absent."""
    found = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name in EXACT[1:] + WARNED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def compare(expect: Mapping[str, str], have: Mapping[str, str], *, here: str = "worker") -> Comparison:
    """How `have` (of `here`) differs from what the kernel has. Only what the kernel has is compared."""
    errors: list[str] = []
    warnings: list[str] = []
    for name, wanted in expect.items():
        found = have.get(name, MISSING)
        if found != wanted:
            sentence = f"{name}: kernel {wanted}, {here} {found}"
            (errors if name in EXACT else warnings).append(sentence)
    return Comparison(tuple(errors), tuple(warnings))
