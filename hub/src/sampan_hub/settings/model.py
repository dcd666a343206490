"""Every key of `sampan.yaml`, as typed models. Descriptions here are the reference page and the JSON schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sampan_hub.settings.units import DurationSeconds, MemoryBytes, PriceMicros, SecretText


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Size(Section):
    """What one job of this size gets, and what an hour of it costs."""

    cores: Annotated[float, Field(gt=0, le=4096)]
    memory: MemoryBytes
    gpus: Annotated[int, Field(ge=0, le=1024)] = 0
    price_per_hour: PriceMicros | None = None

    @property
    def cores_milli(self) -> int:
        return round(self.cores * 1000)


class LocalBackend(Section):
    """Jobs are processes of this machine."""

    kind: Literal["local"] = "local"
    cores: Annotated[float, Field(gt=0)] | None = None
    """Default: the cores this process may use."""
    memory: MemoryBytes | None = None
    """Default: this machine's (or cgroup's) memory less what the system and Sampan need."""
    overcommit: Annotated[float, Field(ge=1, le=64)] | None = None
    """How many times the cores are given out; default 4 on a laptop, 1 on a site. Memory never is."""


class FakeBackend(Section):
    """Jobs that only pretend to run: for load tests and benchmarks."""

    kind: Literal["fake"] = "fake"
    start_delay: DurationSeconds = 0


BackendSettings = Annotated[LocalBackend | FakeBackend, Field(discriminator="kind")]


class Environment(Section):
    """Where code runs from."""

    prefix: Path
    """A Python environment with the client (`pip install sampan[lab]`): `<prefix>/bin/python`."""
    variables: dict[str, str] = Field(default_factory=dict)


class Project(Section):
    """What work is for. `members` and `sizes` empty: everybody, every size."""

    tenant: str = ""
    members: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()


class Limit(Section):
    """The most that may be held at once; absent: no limit."""

    cores: Annotated[float, Field(ge=0)] | None = None
    memory: MemoryBytes | None = None
    gpus: Annotated[int, Field(ge=0)] | None = None
    jobs: Annotated[int, Field(ge=0)] | None = None


class Limits(Section):
    """`user` and `project` are for each one; `users` and `projects` override them by name."""

    user: Limit = Limit()
    project: Limit = Limit()
    site: Limit = Limit()
    users: dict[str, Limit] = Field(default_factory=dict)
    projects: dict[str, Limit] = Field(default_factory=dict)
    raised_by: str = "an administrator"
    """Who can raise a limit, as refusals say it: a name, a desk, an address."""


class ClassLogin(Section):
    """Any installed JupyterHub authenticator, passed through."""

    class_: Annotated[str, Field(alias="class")]
    config: dict[str, Any] = Field(default_factory=dict)
    """Its traits. Any value may be `{file: PATH}` or `{env: NAME}`."""


class Tls(Section):
    certificate: Path
    key: Path


class Idle(Section):
    """When unused work is ended. 0: never."""

    notebook: DurationSeconds = 0
    cluster: DurationSeconds = 1200


class Settings(Section):
    """The whole of `sampan.yaml`. Nothing else configures Sampan."""

    profile: Literal["laptop", "site"] = "laptop"
    url: str = "http://127.0.0.1:8000/"
    """Where people find it; also where it listens unless `listen` says otherwise."""
    listen: str | None = None
    """`address:port` to bind when that differs from `url` (behind a proxy, in a container)."""
    state_dir: Path = Path(".sampan")
    database: SecretText | None = None
    """SQLAlchemy URL; default: SQLite in the state folder."""
    hub_database: SecretText | None = None
    """JupyterHub's own; default: SQLite in the state folder."""
    backends: dict[str, BackendSettings] = Field(default_factory=lambda: {"local": LocalBackend()})
    sizes: dict[str, Size] = Field(default_factory=dict)
    """Default: computed from the machine, so that a notebook and four workers fit on 2 cores and 4 GiB."""
    default_size: str | None = None
    environments: dict[str, Environment] = Field(default_factory=dict)
    """Default: one, `default`: `user` beside the hub's own environment."""
    default_environment: str | None = None
    projects: dict[str, Project] = Field(default_factory=dict)
    """Default: one project `personal` for each user."""
    limits: Limits = Limits()
    login: Literal["links"] | ClassLogin | None = None
    """None is `links` on a loopback address and a refusal elsewhere."""
    admins: tuple[str, ...] = ()
    tls: Tls | None = None
    behind_proxy: tuple[str, ...] = ()
    plain_http: bool = False
    isolation: Literal["none"] | None = None
    """`none`: several people may share one system user, and can then read each other's files and memory."""
    idle: Idle = Idle()
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] | None = None
    unknown_grace: DurationSeconds = 600
    keep_logs: DurationSeconds = 7 * 86400
