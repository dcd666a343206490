"""Every key of `sampan.yaml`, as typed models. The texts under the keys are the reference page and the JSON schema.

Read files with `settings.load`; what is left out is filled in by `settings.defaults.complete`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PrivateAttr, Tag, field_serializer

from sampan_hub.settings.findings import Source
from sampan_hub.settings.kubernetes import IMAGE_PREFIX, Image, KubernetesBackend
from sampan_hub.settings.layout import Layout
from sampan_hub.settings.section import BackendSection, Name, Section
from sampan_hub.settings.slurm import SlurmBackend
from sampan_hub.settings.units import DurationSeconds, MemoryBytes, PriceMicros, SecretText, masked

Count = Annotated[int, Field(ge=0, le=1_000_000, strict=True)]
Cores = Annotated[float, Field(ge=0, le=1_000_000, strict=True)]


class Size(Section):
    """What one job of this size gets, and what an hour of it costs."""

    cores: Annotated[Cores, Field(gt=0)]
    """Processor cores; fractions are allowed (`0.5`)."""
    memory: MemoryBytes
    """The most memory a job of this size may use: `2G`, `512M` (powers of 1024), or bytes."""
    gpus: Count = 0
    """Graphics processors."""
    price_per_hour: PriceMicros | None = None
    """What an hour costs, exactly, in `currency`: `1.25`. Left out: no price is shown."""

    @property
    def cores_milli(self) -> int:
        """Thousandths of a core."""
        return round(self.cores * 1000)


class LocalBackend(BackendSection):
    """Jobs are processes of this machine."""

    kind: Literal["local"] = "local"
    """Which sort of backend this is."""
    cores: Annotated[Cores, Field(gt=0)] | None = None
    """Cores to give out. Default: the cores this process may use."""
    memory: MemoryBytes | None = None
    """Memory to give out. Default: this machine's (or cgroup's) memory less what the system and Sampan need."""
    overcommit: Annotated[float, Field(ge=1, le=64, strict=True)] | None = None
    """How many times the cores are given out. Default: 4 on a laptop, 1 on a site. Memory never is."""
    fork: bool = Field(default=True, strict=True)
    """Start notebooks and workers from processes that have imported everything: in a fraction of a second instead of
    one or two. Costs about 120 MiB of memory for each environment in use."""


class FakeBackend(BackendSection):
    """Jobs that only pretend to run: for load tests and benchmarks."""

    kind: Literal["fake"]
    """Which sort of backend this is."""
    start_delay: DurationSeconds = 0
    """How long a pretended start takes."""


def _backend_kind(value: Any) -> Any:
    return value.get("kind", "local") if isinstance(value, dict) else getattr(value, "kind", "local")


BackendSettings = Annotated[
    Annotated[LocalBackend, Tag("local")]
    | Annotated[SlurmBackend, Tag("slurm")]
    | Annotated[KubernetesBackend, Tag("kubernetes")]
    | Annotated[FakeBackend, Tag("fake")],
    Discriminator(_backend_kind),
]


class Environment(Section):
    """Where code runs from."""

    prefix: Path = IMAGE_PREFIX
    """A Python environment with the client (`pip install sampan[lab]`): `<prefix>/bin/python`. Where jobs are pods, the
    path inside the image; only then may it be left out."""
    image: Image | None = None
    """The image of its jobs where they are pods. Default: the backend's `image`."""
    variables: dict[str, str] = Field(default_factory=dict)
    """Environment variables of everything that runs in it. Not for secrets: whoever sees the job sees them."""


class Project(Section):
    """What work is for."""

    tenant: str = ""
    """Who pays for it."""
    members: tuple[str, ...] = ()
    """Who may use it, by user name. Empty: everybody."""
    sizes: tuple[Name, ...] = ()
    """Which sizes it may use. Empty: all."""
    backends: tuple[Name, ...] = ()
    """On which backends it may run, by name. Empty: all. Who does not choose gets the first of the site's."""


class Limit(Section):
    """The most that may be held at once."""

    cores: Cores | None = None
    """Left out: no limit."""
    memory: MemoryBytes | None = None
    """Left out: no limit."""
    gpus: Count | None = None
    """Left out: no limit."""
    jobs: Count | None = None
    """Notebooks and workers together. Left out: no limit."""


class Limits(Section):
    """What people, projects and the whole site may hold at once."""

    user: Limit = Limit()
    """For each user."""
    project: Limit = Limit()
    """For each project."""
    site: Limit = Limit()
    """For all together."""
    users: dict[str, Limit] = Field(default_factory=dict)
    """By user name, in place of `user`."""
    projects: dict[Name, Limit] = Field(default_factory=dict)
    """By project, in place of `project`."""
    raised_by: str = "an administrator"
    """Who can raise a limit, as refusals say it: a name, a desk, an address."""


class ClassLogin(Section):
    """Any installed JupyterHub authenticator, passed through."""

    class_: Annotated[str, Field(alias="class", min_length=1)]
    """Its name or import path: `oauthenticator.generic.GenericOAuthenticator`."""
    config: dict[str, Any] = Field(default_factory=dict)
    """Its traits. Any value may be `{file: PATH}` or `{env: NAME}`."""

    @field_serializer("config", when_used="json")
    def _masked_config(self, config: dict[str, Any]) -> Any:
        return masked(config)


def _login_form(value: Any) -> str:
    return "(class)" if isinstance(value, dict | ClassLogin) else "(word)"


Login = Annotated[
    Annotated[Literal["links"], Tag("(word)")] | Annotated[ClassLogin, Tag("(class)")], Discriminator(_login_form)
]


class Tls(Section):
    """HTTPS by Sampan's own proxy."""

    certificate: Path
    """The certificate and what it chains to, PEM."""
    key: Path
    """Its private key, PEM, readable by nobody else."""
    ca: Path | None = None
    """The certificate of the authority that signed it, PEM, where that is the site's own: jobs on other machines know
    Sampan by it. Default: what the certificate's file holds of it, else the authorities that the nodes know."""


def _tls_form(value: Any) -> str:
    return "(files)" if isinstance(value, dict | Tls) else "(word)"


TlsSetting = Annotated[
    Annotated[Literal["own"], Tag("(word)")] | Annotated[Tls, Tag("(files)")], Discriminator(_tls_form)
]


class Idle(Section):
    """When unused work is ended. 0: never."""

    notebook: DurationSeconds = 0
    """A notebook in which nothing was executed for so long: `2h`."""
    cluster: DurationSeconds = 1200
    """Workers of a cluster without tasks for so long; a cluster may ask for another value."""


class Settings(Section):
    """The whole of `sampan.yaml`. Nothing else configures Sampan."""

    _source: Source | None = PrivateAttr(default=None)

    profile: Literal["laptop", "site"] = "laptop"
    """`laptop`: whoever starts it is its only user. `site`: a service for several people; jobs outlive `sampan up`."""
    url: str = "http://127.0.0.1:8000/"
    """Where people find it; also where it listens unless `listen` says otherwise."""
    listen: str | None = None
    """`address:port` to bind when that differs from `url` (behind a proxy, in a container)."""
    layout: Layout | None = None
    """For a proxy and a hub apart: in a Kubernetes cluster the chart sets it. Default: proxy, hub and
    service are on one machine and talk over loopback."""
    state_dir: Path = Path(".sampan")
    """The folder of everything Sampan remembers: databases, keys, logs. Only its owner may enter it."""
    database: SecretText | None = None
    """SQLAlchemy URL of the compute service's database. Default: SQLite in the state folder."""
    hub_database: SecretText | None = None
    """SQLAlchemy URL of JupyterHub's own database. Default: SQLite in the state folder."""
    backends: dict[Name, BackendSettings] = Field(default_factory=lambda: _default_backends())
    """Where jobs run, by name. Default: `local`, this machine."""
    sizes: dict[Name, Size] = Field(default_factory=dict)
    """What people choose from. Default: computed from the machine, so that a notebook and four workers fit on
    2 cores and 4 GiB."""
    default_size: Name | None = None
    """The size of whoever does not choose. Default: the first of `sizes`."""
    environments: dict[Name, Environment] = Field(default_factory=dict)
    """Default: one, `default`: the folder `user` inside the hub's own environment."""
    default_environment: Name | None = None
    """Default: the first of `environments`."""
    projects: dict[Name, Project] = Field(default_factory=dict)
    """Default: one project `personal` for each user."""
    limits: Limits = Limits()
    """What may be held at once."""
    login: Login | None = None
    """How people log in: `links` (personal links by `sampan link` and `sampan user`) or `class:` and `config:`.
    Default: `links` on a loopback address; elsewhere it must be said."""
    admins: tuple[str, ...] = ()
    """User names of those who may see and stop everything."""
    tls: TlsSetting | None = None
    """Where Sampan's own proxy speaks HTTPS: `certificate:` and `key:`, or `own` for a certificate that Sampan makes.
    Browsers take that one once they know `tls/ca.crt` in the state folder."""
    behind_proxy: tuple[str, ...] = ()
    """Addresses or networks of the HTTPS proxies in front of Sampan, whose `X-Forwarded-…` headers are believed."""
    plain_http: bool = Field(default=False, strict=True)
    """Serve other machines without encryption or without a real login. Everything typed can then be read underway."""
    isolation: Literal["none"] | None = None
    """`none`: several people may share one system user, and can then read each other's files and memory."""
    idle: Idle = Idle()
    """When unused work is ended."""
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] | None = None
    """The currency of all prices, three letters: `EUR`. Needed where a size has a price."""
    unknown_grace: DurationSeconds = 600
    """How long a job may be out of sight before it counts as lost, which frees its owner's limits."""
    keep_logs: DurationSeconds = 7 * 86400
    """How long the output of ended jobs is kept."""

    @property
    def source(self) -> Source | None:
        """The file these settings were read from; None without one."""
        return self._source

    def read_from(self, source: Source | None) -> Settings:
        """The same settings, knowing their file."""
        copy = self.model_copy()
        copy._source = source
        return copy


def _default_backends() -> dict[str, BackendSettings]:
    return {"local": LocalBackend()}
