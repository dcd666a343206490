"""The site's own sbatch options: a closed list of those that only say where and how a job is placed. Pure.

Nothing in it runs a program, names a file, sends mail, changes the user, the environment, the output or the job's name.
"""

from __future__ import annotations

import re

from sampan_hub.privilege.errors import RunAsError

_COUNT = r"[0-9]{1,9}"
_HOSTS = r"[A-Za-z0-9][A-Za-z0-9._,\[\]-]{0,511}"  # no "/": sbatch would read a file of that name
_WORDS = r"[A-Za-z0-9][A-Za-z0-9._:,@+*=-]{0,255}"
_FEATURES = r"[A-Za-z0-9(\[][A-Za-z0-9._&|()\[\]*,:+-]{0,255}"
_NONE = ""

_VALUES: dict[str, str] = {
    "contiguous": _NONE,
    "core-spec": _COUNT,
    "cpu-freq": _WORDS,
    "delay-boot": _COUNT,
    "exclude": _HOSTS,
    "exclusive": r"(?:user|mcs)?",
    "gpu-freq": _WORDS,
    "gres-flags": r"(?:disable|enforce)-binding",
    "hint": r"(?:compute_bound|memory_bound|multithread|nomultithread)",
    "licenses": _WORDS,
    "mcs-label": _WORDS,
    "mincpus": _COUNT,
    "network": _WORDS,
    "nice": _COUNT,
    "nodelist": _HOSTS,
    "oversubscribe": _NONE,
    "prefer": _FEATURES,
    "spread-job": _NONE,
    "switches": r"[0-9]{1,4}(?:@[0-9:-]{1,20})?",
    "thread-spec": _COUNT,
    "threads-per-core": _COUNT,
    "tmp": r"[0-9]{1,9}[KMGT]?",
    "use-min-nodes": _NONE,
    "wckey": _WORDS,
}
DIRECTIVES = frozenset(_VALUES)
"""The long options that a site may add, without their dashes."""

_FORMS = {name: re.compile(value) for name, value in _VALUES.items()}
_SHAPE = re.compile(r"--([a-z][a-z-]{1,30})(=.{1,512})?", re.ASCII)


def check_directive(text: str) -> str:
    """The same text if it is `--option` or `--option=value` of the list, the value in that option's form."""
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise RunAsError("request", "A directive is not of the form --option or --option=value.")
    name, value = shape[1], (shape[2] or "")[1:]
    form = _FORMS.get(name)
    if form is None:
        raise RunAsError("request", f"The directive --{name} is not among those a site may add.")
    if form.fullmatch(value) is None or (value == "" and shape[2] is not None):
        raise RunAsError("request", f"The value of the directive --{name} does not have the form it must have.")
    return text
