"""What must not start, what is said in red, and cross-references: each with the place in the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan_hub.settings.address import (
    AddressError,
    Endpoint,
    bind_endpoint,
    parse_listen,
    parse_url,
    public_url,
)
from sampan_hub.settings.defaults import complete
from sampan_hub.settings.load import parse_settings
from sampan_hub.settings.machine import Machine
from sampan_hub.settings.model import Settings
from sampan_hub.settings.policy import is_exposed, people_refusal, refusals, warnings

MACHINE = Machine(4000, 16 << 30, Path("/opt"))
SAFE = (
    "{profile: site, url: 'https://s.example/', listen: '0.0.0.0:443', behind_proxy: [10.0.0.1], "
    "login: links, isolation: none"
)
FEEDING = (
    "{profile: site, isolation: none, url: 'https://192.0.2.1/', tls: own, login: links, "
    "backends: {l: {workers_on: [s]}, s: {kind: slurm, submit_as: one, network: NETWORK, workers_on: [s, l]}}}"
)


def settings_of(text: str) -> Settings:
    return complete(parse_settings(text.encode(), "sampan.yaml", Path("/site"), {}), MACHINE)


def refused(text: str) -> list[str]:
    return [str(finding) for finding in refusals(settings_of(text))]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "url: http://localhost:9000/",
        "url: http://[::1]:9000/",
        "url: http://127.0.0.3:1/",
        "{profile: site, isolation: none}",
        SAFE + "}",
        "{profile: site, url: 'https://192.0.2.1/', tls: {certificate: c, key: k}, login: {class: x}, isolation: none}",
        "{profile: site, url: 'http://192.0.2.1/', login: {class: dummy}, plain_http: true, isolation: none}",
        "{profile: site, url: 'http://192.0.2.1/', plain_http: true, isolation: none}",
        "{profile: site, backends: {f: {kind: fake}}}",
    ],
)
def test_these_start(text: str) -> None:
    assert refused(text) == []


def keys(text: str) -> list[str]:
    return [finding.key for finding in refusals(settings_of(text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{url: 'http://192.0.2.1/'}", ["url", "url", "url"]),
        ("{url: 'http://127.0.0.1/', listen: '0.0.0.0:80'}", ["listen", "url", "listen"]),
        ("{profile: site, isolation: none, url: 'http://192.0.2.1/', login: links}", ["url"]),
        ("{profile: site, isolation: none, url: 'http://192.0.2.1/', login: links, behind_proxy: [10.0.0.1]}", []),
        ("{profile: site, isolation: none, url: 'http://192.0.2.1/', behind_proxy: [10.0.0.1]}", ["url"]),
        (SAFE.replace("login: links", "login: {class: dummy}") + "}", ["login"]),
        (SAFE.replace("login: links", "login: {class: 'jupyterhub.auth.DummyAuthenticator'}") + "}", ["login"]),
        (SAFE.replace("login: links", "login: {class: 'jupyterhub.auth:DummyAuthenticator'}") + "}", ["login"]),
        (SAFE.replace(", isolation: none", "") + "}", ["isolation"]),
        ("{profile: site}", ["isolation"]),
        ("{login: {class: github}}", ["isolation"]),
        ("{url: 'https://127.0.0.1/'}", ["url"]),
        ("{profile: site, isolation: none, url: 'http://127.0.0.1/', tls: {certificate: c, key: k}}", ["url"]),
        ("{profile: site, isolation: none, plain_http: true, url: 'http://s.example/'}", ["url"]),
        ("{listen: nonsense}", ["listen", "url", "listen"]),
        ("{backends: {}}", ["backends"]),
        (
            "{behind_proxy: [10.0.0.1, '::1', 10.0.0.0/8, proxy.example, 10.0.0.1/8]}",
            ["behind_proxy[3]", "behind_proxy[4]"],
        ),
        ("{limits: {raised_by: ' '}}", ["limits.raised_by"]),
        ("{default_size: huge}", ["default_size"]),
        ("{default_environment: other}", ["default_environment"]),
        ("{projects: {p: {sizes: [small, huge, vast]}}}", ["projects.p.sizes[1]", "projects.p.sizes[2]"]),
        ("{projects: {p: {}}, limits: {projects: {q: {jobs: 1}}}}", ["limits.projects.q"]),
        ("{limits: {projects: {personal: {jobs: 1}}}}", []),
        ("{sizes: {s: {cores: 1, memory: 2}}}", ["sizes.s.memory"]),
        ("{sizes: {s: {cores: 0.0001, memory: 1G}}}", ["sizes.s.cores"]),
        ("{sizes: {s: {cores: 1, memory: 1G, price_per_hour: 1}}}", ["sizes.s.price_per_hour"]),
        ("{sizes: {s: {cores: 1, memory: 1T}}}", ["sizes.s"]),
        ("{sizes: {s: {cores: 1, memory: 1G, gpus: 1}}}", ["sizes.s"]),
        ("{backends: {l: {}, f: {kind: fake}}, sizes: {s: {cores: 1, memory: 1T, gpus: 9}}}", []),
        (
            "{backends: {l: {cores: 1, memory: 9G}, m: {cores: 9, memory: 1G}}, sizes: {s: {cores: 8, memory: 8G}}}",
            ["sizes.s"],
        ),
        ("{projects: {p: {backends: [local, far]}}}", ["projects.p.backends[1]"]),
        ("{backends: {l: {workers_on: [l, m]}}}", ["backends.l.workers_on[1]"]),
        (FEEDING.replace("NETWORK", "10.88.0.0/24"), []),
        (FEEDING.replace("NETWORK", "null"), ["backends.l.workers_on[0]"]),
    ],
)
def test_these_do_not_start(text: str, expected: list[str]) -> None:
    assert keys(text) == expected


def test_refusals_say_place_cause_and_remedy() -> None:
    assert refused(
        "url: http://127.0.0.1/\nlisten: 0.0.0.0:80\nprofile: site\nisolation: none\nlogin: {class: dummy}\n"
    ) == [
        "sampan.yaml:5:8 login – other machines can reach Sampan, and nobody's login is checked. Remedy: set "
        "`login: links`, or `class:` and `config:` of a real authenticator; or `plain_http: true`",
        "sampan.yaml:2:9 listen – other machines can reach Sampan, and nothing is encrypted. Remedy: set "
        "`tls: own`, `tls: {certificate, key}` or `behind_proxy: [ADDRESS]`; or `plain_http: true`",
    ]
    assert refused("projects:\n  p:\n    sizes: [smal]\n") == [
        "sampan.yaml:3:13 projects.p.sizes[0] – 'smal' is not one of `sizes` (large, medium, small)"
    ]


def test_a_missing_key_is_reported_where_its_cause_stands() -> None:
    assert refused("# ours\nprofile: site\n")[0].startswith("sampan.yaml:2:10 isolation – several people")
    assert refused("# ours\nlogin: {class: github}\n")[0].startswith("sampan.yaml:2:8 isolation – several people")


def red(text: str) -> list[str]:
    return [finding.key for finding in warnings(settings_of(text))]


def test_what_is_said_in_red() -> None:
    assert red("") == []
    assert red("plain_http: true") == []
    assert red("{profile: site, isolation: none}") == ["isolation"]
    assert red("{profile: site, isolation: none, url: 'http://192.0.2.1/', plain_http: true}") == [
        "plain_http",
        "isolation",
    ]
    assert red(SAFE + ", plain_http: true}") == ["isolation"]
    assert red("isolation: none") == ["isolation"]
    assert red("{isolation: none, backends: {f: {kind: fake}}}") == []


def test_names_that_nobody_can_have() -> None:
    text = "{admins: [Ana], projects: {wing: {members: [ben, ' Cleo']}}, limits: {users: {BEN: {cores: 1}}}}"
    assert [line.partition(" – ")[0].split()[1] for line in refused(text)] == [
        "admins[0]",
        "projects.wing.members[1]",
        "limits.users.BEN",
    ]
    assert refused(text)[0].endswith("spells names in lower case. Remedy: write ana")


def test_a_second_person_on_a_laptop_needs_isolation_none() -> None:
    assert people_refusal(settings_of(""), 1) is None
    assert people_refusal(settings_of("isolation: none"), 2) is None
    finding = people_refusal(settings_of("profile: laptop"), 2)
    assert finding is not None
    assert "set `isolation: none`" in str(finding)


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "path"),
    [
        ("http://127.0.0.1:8000/", "http", "127.0.0.1", 8000, "/"),
        ("http://127.0.0.1", "http", "127.0.0.1", 80, "/"),
        ("https://S.example/a//b", "https", "s.example", 443, "/a/b/"),
        ("http://[::1]:9/", "http", "::1", 9, "/"),
    ],
)
def test_urls(url: str, scheme: str, host: str, port: int, path: str) -> None:
    assert parse_url(url) == (scheme, Endpoint(host, port), path)


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:8000", "ftp://x/", "http://", "http:///x", "http://x:99999/", "http://x:y/", "http://a:b@x/",
     "http://x/?q", "http://x/#f", "http://x/ y", "http://[::1", "http://x/\n", "http://x\\y/"],
)  # fmt: skip
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(AddressError, match="expected http://NAME"):
        parse_url(url)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:80", "127.0.0.1", 80),
        ("[::1]:80", "::1", 80),
        (":80", "0.0.0.0", 80),
        ("localhost:1", "localhost", 1),
        ("0.0.0.0:65535", "0.0.0.0", 65535),
    ],
)
def test_listen(text: str, host: str, port: int) -> None:
    assert parse_listen(text) == Endpoint(host, port)


@pytest.mark.parametrize(
    "text", ["", "80", "x:80", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "1.2.3:80", "127.0.0.1:８0", "a b:1"]
)
def test_what_is_no_listen(text: str) -> None:
    with pytest.raises(AddressError, match="expected ADDRESS:PORT"):
        parse_listen(text)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("", False), ("0.0.0.0", False),
     ("::", False), ("192.0.2.1", False), ("localhost.example", False)],
)  # fmt: skip
def test_loopback(host: str, loopback: bool) -> None:

    assert Endpoint(host, 1).is_loopback is loopback


def test_an_address_that_cannot_be_read_counts_as_exposed() -> None:
    assert is_exposed(settings_of("listen: nonsense"))


def test_bind_and_public_url() -> None:
    settings = settings_of("{url: 'https://s.example:443/hub', listen: '[::]:8443'}")
    assert bind_endpoint(settings) == Endpoint("::", 8443)
    assert public_url(settings) == "https://s.example/hub/"
    assert public_url(settings_of("url: http://[::1]:8000")) == "http://[::1]:8000/"


SLURM = "profile: site\nlogin: {class: x}\nurl: %s\nbackends: {cluster: {kind: slurm%s}}\n"


@pytest.mark.parametrize(
    ("url", "keys_of_backend", "key", "cause"),
    [
        ("http://192.0.2.1/", "", "backends.cluster", "without encryption"),
        (
            "https://192.0.2.1/\ntls: own",
            ", reach: 'http://192.0.2.9/'",
            "backends.cluster.reach",
            "without encryption",
        ),
        ("http://127.0.0.1/", ", reach: 'https://192.0.2.9/'", "backends.cluster.reach", "nothing here speaks TLS"),
        ("http://127.0.0.1/", ", reach: nowhere", "backends.cluster.reach", "expected http"),
    ],
)
def test_what_crosses_hosts_is_encrypted(url: str, keys_of_backend: str, key: str, cause: str) -> None:
    (sentence,) = [text for text in refused(SLURM % (url, keys_of_backend)) if key in text]
    assert cause in sentence


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/", "https://192.0.2.1/\ntls: own", "https://192.0.2.1/\ntls: {certificate: c, key: k}"],
)
def test_a_cluster_on_this_machine_or_over_tls_is_no_trouble(url: str) -> None:
    assert [text for text in refused(SLURM % (url, ", network: 10.0.0.0/24")) if "backends" in text] == []
