"""What settings Sampan refuses to run by, and what it warns of. Pure; asks for completed settings."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from sampan_hub.settings.address import AddressError, Endpoint, bind_endpoint, parse_listen, parse_url
from sampan_hub.settings.crossing import crossing_refusals
from sampan_hub.settings.findings import Finding, KeyPath, made
from sampan_hub.settings.fitting import misfit
from sampan_hub.settings.impersonation import impersonation_refusals
from sampan_hub.settings.layout import layout_refusals
from sampan_hub.settings.model import ClassLogin, LocalBackend, Settings
from sampan_hub.settings.pods import pods_refusals
from sampan_hub.settings.slurm import SlurmBackend

DUMMY_LOGINS = frozenset({"dummy", "dummyauthenticator", "null", "nullauthenticator", "sharedpasswordauthenticator"})
"""Authenticators that prove nothing, or the same of everybody; by the last part of their name, in lower case."""
_LEAST_MEMORY_BYTES = 64 << 20


def refusals(settings: Settings) -> list[Finding]:
    """Everything that keeps Sampan from starting; empty when it may."""
    own = (_address, layout_refusals, _references, _people, _values, _exposure)
    subjects = (*own, pods_refusals, crossing_refusals, impersonation_refusals, _sharing)
    return [finding for subject in subjects for finding in subject(settings)]


def front_refusals(settings: Settings) -> list[Finding]:
    """What keeps a proxy that is apart from starting; the rest is judged where hub and service are."""
    return [finding for subject in (_address, layout_refusals) for finding in subject(settings)]


def warnings(settings: Settings) -> list[Finding]:
    """What was allowed and is dangerous: to be said in red at every start."""
    found = []
    if is_exposed(settings) and settings.plain_http:
        trouble = "; ".join(_exposures(settings))
        if trouble:
            text = f"other machines can reach Sampan, and {trouble}: passwords and work can be read or taken over"
            found.append(
                made(settings.source, ("plain_http",), text, remedy="set `tls` or `behind_proxy`, and `login`")
            )
    if settings.isolation == "none" and shares_one_user(settings, people=2):
        text = "several people may share one system user: each can read and change the others' files and memory"
        found.append(made(settings.source, ("isolation",), text, remedy="let only people in who trust each other"))
    return found


def shares_one_user(settings: Settings, people: int = 1) -> bool:
    """Whether jobs of several people run under one uid: a backend that has but one, and more than a lone user."""
    one = any(
        isinstance(backend, LocalBackend) or (isinstance(backend, SlurmBackend) and backend.submit_as == "one")
        for backend in settings.backends.values()
    )
    several = settings.profile == "site" or isinstance(settings.login, ClassLogin) or people > 1
    return one and several


def is_exposed(settings: Settings) -> bool:
    """Whether other machines can reach what Sampan binds; an address that cannot be read counts as exposed."""
    try:
        return not bind_endpoint(settings).is_loopback
    except AddressError:
        return True


def people_refusal(settings: Settings, people: int) -> Finding | None:
    """Why `people` (all who are known by name) may not use this installation together; None when they may."""
    if shares_one_user(settings, people) and settings.isolation is None:
        return _isolation_missing(settings)
    return None


def _address(settings: Settings) -> Iterator[Finding]:
    source = settings.source
    listen: Endpoint | None = None
    if settings.listen is not None:
        try:
            listen = parse_listen(settings.listen)
        except AddressError as error:
            yield made(source, ("listen",), str(error))
    try:
        scheme, endpoint, _ = parse_url(settings.url)
    except AddressError as error:
        yield made(source, ("url",), str(error))
        return
    if settings.listen is None and not _is_address(endpoint.host):
        text = f"{endpoint.host} is a name; what to bind is not known"
        yield made(source, ("url",), text, remedy="set `listen: ADDRESS:PORT`")
    if scheme == "https" and settings.tls is None and not settings.behind_proxy:
        yield made(source, ("url",), "is https, but nothing here speaks TLS", remedy="set `tls` or `behind_proxy`")
    if scheme == "http" and settings.tls is not None:
        yield made(source, ("url",), "is http, but `tls` is set", remedy="write https")
    if settings.profile == "laptop" and not (listen or endpoint).is_loopback:
        key = "url" if listen is None else "listen"
        text = "the laptop profile serves this machine alone (127.0.0.1 or ::1)"
        yield made(source, (key,), text, remedy="set `profile: site` to serve others")


def _is_address(host: str) -> bool:
    try:
        parse_listen(f"[{host}]:1")
    except AddressError:
        return False
    return True


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def _references(settings: Settings) -> Iterator[Finding]:
    sizes, environments, projects = set(settings.sizes), set(settings.environments), set(settings.projects)
    backends = set(settings.backends)
    named: list[tuple[KeyPath, str, str, set[str]]] = []
    if settings.default_size is not None:
        named.append((("default_size",), settings.default_size, "sizes", sizes))
    if settings.default_environment is not None:
        named.append((("default_environment",), settings.default_environment, "environments", environments))
    for name, project in settings.projects.items():
        for index, size in enumerate(project.sizes):
            named.append((("projects", name, "sizes", index), size, "sizes", sizes))
        for index, backend in enumerate(project.backends):
            named.append((("projects", name, "backends", index), backend, "backends", backends))
    for name, feeding in settings.backends.items():
        for index, backend in enumerate(feeding.workers_on):
            named.append((("backends", name, "workers_on", index), backend, "backends", backends))
    if projects:
        named += [(("limits", "projects", name), name, "projects", projects) for name in settings.limits.projects]
    for path, name, section, known in named:
        if name not in known:
            allowed = ", ".join(sorted(known))
            yield made(settings.source, path, f"{name!r} is not one of `{section}` ({allowed})")


def _people(settings: Settings) -> Iterator[Finding]:
    """Names that nobody can have: JupyterHub spells every user's name in lower case."""
    named: list[tuple[KeyPath, str]] = [(("admins", index), name) for index, name in enumerate(settings.admins)]
    for project_name, project in settings.projects.items():
        named += [(("projects", project_name, "members", index), name) for index, name in enumerate(project.members)]
    named += [(("limits", "users", name), name) for name in settings.limits.users]
    for path, name in named:
        if name != name.strip().lower() or not name:
            text = f"{name!r} is nobody's name: JupyterHub spells names in lower case"
            yield made(settings.source, path, text, remedy=f"write {name.strip().lower() or 'a name'}")


def _values(settings: Settings) -> Iterator[Finding]:
    source = settings.source
    if not settings.backends:
        yield made(source, ("backends",), "no backend: jobs would run nowhere", remedy="name one, or leave it out")
    for index, address in enumerate(settings.behind_proxy):
        if not _is_network(address):
            text = f"expected an address or network such as 10.0.0.1 or 10.0.0.0/24, got {address!r}"
            yield made(source, ("behind_proxy", index), text)
    if not settings.limits.raised_by.strip():
        yield made(source, ("limits", "raised_by"), "is empty", remedy="say who can raise a limit, or leave it out")
    for name, backend in settings.backends.items():
        if isinstance(backend, SlurmBackend):
            yield from _slurm_values(settings, name, backend)
    for name, size in settings.sizes.items():
        if size.memory < _LEAST_MEMORY_BYTES:
            text = f"{size.memory} bytes are too little for any job"
            yield made(source, ("sizes", name, "memory"), text, remedy="write for example 2G")
        if size.cores_milli < 1:
            yield made(source, ("sizes", name, "cores"), "less than a thousandth of a core")
        if size.price_per_hour is not None and settings.currency is None:
            yield made(source, ("sizes", name, "price_per_hour"), "a price of what?", remedy="set `currency: EUR`")
    yield from _fitting(settings)
    yield from _feeding(settings)


def _slurm_values(settings: Settings, name: str, backend: SlurmBackend) -> Iterator[Finding]:
    source, path = settings.source, ("backends", name)
    if backend.network is not None and not _is_network(backend.network):
        text = f"expected a network such as 10.88.0.0/24, got {backend.network!r}"
        yield made(source, (*path, "network"), text)
    if backend.ports.first > backend.ports.last:
        yield made(source, (*path, "ports"), "`first` is above `last`", remedy="write for example {first: 30000}")
    for section, known in (("sizes", settings.sizes), ("projects", settings.projects)):
        for key in getattr(backend, section):
            if key not in known:
                text = f"{key!r} is not one of `{section}` ({', '.join(sorted(known))})"
                yield made(source, (*path, section, key), text)


def _fitting(settings: Settings) -> Iterator[Finding]:
    """Sizes that no backend can ever hold."""
    for name, size in settings.sizes.items():
        if settings.backends and all(misfit(settings, name, backend) for backend in settings.backends):
            text = "needs GPUs; no backend has any" if size.gpus else "needs more than any backend gives out"
            yield made(settings.source, ("sizes", name), text, remedy="make it smaller, or remove it")


def _feeding(settings: Settings) -> Iterator[Finding]:
    """Schedulers on this machine whose workers, on others, would not reach them."""
    for name, feeding in settings.backends.items():
        for index, fed in enumerate(feeding.workers_on):
            other = settings.backends.get(fed)
            if isinstance(other, SlurmBackend) and other.network is None and not isinstance(feeding, SlurmBackend):
                text = f"a scheduler on {name} would not know at which address workers on {fed} reach it"
                path = ("backends", name, "workers_on", index)
                yield made(settings.source, path, text, remedy=f"set `backends.{fed}.network`")


def _exposure(settings: Settings) -> Iterator[Finding]:
    """A reachable address needs a real login and encryption, unless `plain_http` says otherwise."""
    if not is_exposed(settings) or settings.plain_http:
        return
    if settings.login is None or _is_dummy(settings):
        text = "other machines can reach Sampan, and nobody's login is checked"
        remedy = "set `login: links`, or `class:` and `config:` of a real authenticator; or `plain_http: true`"
        yield made(settings.source, ("login",) if settings.login else ("url",), text, remedy=remedy)
    if settings.tls is None and not settings.behind_proxy:
        text = "other machines can reach Sampan, and nothing is encrypted"
        remedy = "set `tls: own`, `tls: {certificate, key}` or `behind_proxy: [ADDRESS]`; or `plain_http: true`"
        yield made(settings.source, ("listen",) if settings.listen else ("url",), text, remedy=remedy)


def _exposures(settings: Settings) -> Iterator[str]:
    if settings.login is None or _is_dummy(settings):
        yield "nobody's login is checked"
    if settings.tls is None and not settings.behind_proxy:
        yield "nothing is encrypted"


def _is_dummy(settings: Settings) -> bool:
    if not isinstance(settings.login, ClassLogin):
        return False
    return settings.login.class_.replace(":", ".").rpartition(".")[2].lower() in DUMMY_LOGINS


def _sharing(settings: Settings) -> Iterator[Finding]:
    if shares_one_user(settings) and settings.isolation is None:
        yield _isolation_missing(settings)


def _isolation_missing(settings: Settings) -> Finding:
    text = "several people would share one system user, and could read each other's files and memory"
    cause = "profile" if settings.profile == "site" else "login"
    remedy = "set `isolation: none` if they trust each other"
    return made(settings.source, ("isolation",), text, remedy=remedy, at=(cause,))
