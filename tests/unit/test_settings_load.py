"""Reading sampan.yaml: which file, every error at once with its place, references to secrets, odd input."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan_hub.settings.findings import SettingsError
from sampan_hub.settings.kubernetes import KubernetesBackend
from sampan_hub.settings.load import find_settings_file, load_settings, parse_settings
from sampan_hub.settings.model import ClassLogin, FakeBackend, LocalBackend, Settings, Tls
from sampan_hub.settings.units import SecretText


def parse(text: str | bytes, folder: Path = Path("/site"), environ: dict[str, str] | None = None) -> Settings:
    data = text if isinstance(text, bytes) else textwrap.dedent(text).encode()
    return parse_settings(data, "sampan.yaml", folder, environ or {})


def errors(text: str | bytes, **rest: object) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        parse(text, **rest)  # type: ignore[arg-type]
    assert str(caught.value) == "\n".join(map(str, caught.value.findings))
    return [str(finding) for finding in caught.value.findings]


def test_every_error_at_once_each_with_its_place() -> None:
    assert errors(
        """\
        profile: sites
        urll: http://x/
        limits:
          user:
            # of each
            cores:       lots
            memry: 4G
        sizes:
          small: {cores: 1, memory: 2Q, price_per_hour: 0.1234567}
          Big One: {cores: true, memory: 2G}
          m: {memory: 5G, gpus: 1.5, memory: 6G}
        backends:
          local: {kid: 3}
          x: {kind: slrm}
        admins: ana
        login:
          class: dummy
          clas: 4
        database: 5
        currency: euro
        environments: {default: {prefix: 5, variables: {A: 5}}}
        plain_http: 3
        idle: [1]
        keep_logs: forever
        """
    ) == [
        "sampan.yaml:1:10 profile – expected 'laptop' or 'site', got 'sites', did you mean 'site'?",
        "sampan.yaml:2:1 urll – unknown key, did you mean 'url'?",
        "sampan.yaml:6:18 limits.user.cores – expected a number, got 'lots'",
        "sampan.yaml:7:5 limits.user.memry – unknown key, did you mean 'memory'?",
        "sampan.yaml:9:29 sizes.small.memory – expected an amount of memory such as 2G or 512M, got '2Q'",
        "sampan.yaml:9:49 sizes.small.price_per_hour – expected a price such as 1.25, with at most 6 decimals, "
        "got 0.1234567",
        "sampan.yaml:10:3 sizes.'Big One' – expected a name of a-z, 0-9, '.', '_', '-' "
        "(at most 63, a letter or digit first)",
        "sampan.yaml:10:20 sizes.'Big One'.cores – expected a number, got true",
        "sampan.yaml:11:6 sizes.m.cores – missing",
        "sampan.yaml:11:25 sizes.m.gpus – expected a whole number, got 1.5",
        "sampan.yaml:11:30 sizes.m.memory – given twice, first in line 11",
        "sampan.yaml:13:11 backends.local.kid – unknown key, did you mean 'kind'?",
        "sampan.yaml:14:6 backends.x – expected 'local' or 'slurm' or 'kubernetes' or 'fake', got 'slrm', "
        "did you mean 'slurm'?",
        "sampan.yaml:15:9 admins – expected a list, got 'ana'",
        "sampan.yaml:18:3 login.clas – unknown key, did you mean 'class'?",
        "sampan.yaml:19:11 database – expected text",
        "sampan.yaml:20:11 currency – expected three capital letters such as EUR, got 'euro'",
        "sampan.yaml:21:34 environments.default.prefix – expected a path, got 5",
        "sampan.yaml:21:52 environments.default.variables.A – expected text, got 5 (write '5' in quotes)",
        "sampan.yaml:22:13 plain_http – expected true or false, got 3",
        "sampan.yaml:23:7 idle – expected keys and values, got a list",
        "sampan.yaml:24:12 keep_logs – expected a duration such as 90s, 20m or 1h30m, got 'forever'",
    ]


def test_an_unknown_key_far_from_any_other_lists_what_is_known() -> None:
    assert errors("idle: {zzzzzzzz: 1}") == [
        "sampan.yaml:1:8 idle.zzzzzzzz – unknown key; known here: cluster, notebook"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sizes: {s: {cores: 0, memory: 1G}}", "sizes.s.cores – expected more than 0, got 0"),
        ("sizes: {s: {cores: .inf, memory: 1G}}", "sizes.s.cores – expected a number, got inf"),
        ("sizes: {s: {cores: .nan, memory: 1G}}", "sizes.s.cores – expected"),
        ("sizes: {s: {cores: '2', memory: 1G}}", "sizes.s.cores – expected a number, got '2'"),
        ("limits: {user: {jobs: -1}}", "limits.user.jobs – expected at least 0, got -1"),
        ("limits: {user: null}", "limits.user – expected keys and values, got nothing"),
        ("login: dummy", "login – expected 'links', got 'dummy'"),
        ("login: [links]", "login – expected 'links', got a list"),
        ("login: {config: {}}", "login.class – missing"),
        ("backends: {local: {kind: fake, cores: 4}}", "backends.local.cores – unknown key"),
        ("backends: {fast: 3}", "backends.fast – expected keys and values, got 3"),
        ("sizes: {0.5: {cores: 1, memory: 1G}, '': {cores: 1, memory: 1G}}", "sizes.'' – expected a name"),
    ],
)
def test_one_error_in_words(text: str, message: str) -> None:
    assert any(message in line for line in errors(text)), errors(text)


def test_a_date_is_the_text_it_was_written_as() -> None:
    assert parse("{admins: [2026-01-01]}").admins == ("2026-01-01",)


def test_what_may_be_a_secret_is_never_quoted() -> None:
    said = errors("{database: [hunter2], hub_database: {file: a, env: b}, login: {class: 5, config: hunter2}}")
    assert len(said) == 4
    assert "hunter2" not in "".join(said)


def test_prices_are_read_from_their_text() -> None:
    settings = parse("{currency: EUR, sizes: {s: {cores: 0.5, memory: 1G, price_per_hour: 123456789.123457}}}")
    assert settings.sizes["s"].price_per_hour == 123_456_789_123_457
    assert settings.sizes["s"].cores_milli == 500


def test_relative_paths_start_at_the_file() -> None:
    settings = parse(
        """\
        state_dir: state
        tls: {certificate: c.pem, key: /etc/k.pem, ca: ca.pem}
        environments: {default: {prefix: ../user}}
        """
    )
    assert settings.state_dir == Path("/site/state")
    assert settings.tls == Tls(certificate=Path("/site/c.pem"), key=Path("/etc/k.pem"), ca=Path("/site/ca.pem"))
    assert settings.environments["default"].prefix == Path("/site/../user")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tls: owm", "s.yaml:1:6 tls – expected 'own', got 'owm', did you mean 'own'?"),
        ("tls: {certificate: c}", "s.yaml:1:6 tls.key – missing"),
    ],
)
def test_tls_is_own_or_files(text: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings(text.encode(), "s.yaml", Path("/site"), {})
    assert str(caught.value) == said
    assert parse("tls: own").tls == "own"


def test_a_backend_is_local_unless_it_says_otherwise() -> None:
    settings = parse("backends: {here: {cores: 3}, pretend: {kind: fake, start_delay: 2s}}")
    assert settings.backends == {"here": LocalBackend(cores=3), "pretend": FakeBackend(kind="fake", start_delay=2)}


def test_references_to_files_and_variables(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://ana:pw@db/x\n")
    settings = parse(
        """\
        database: {file: url}
        login:
          class: generic-oauth
          config:
            client_id: sampan
            client_secret: {env: OIDC_SECRET}
            nested: [{file: url}, {deep: {env: OIDC_SECRET}}, {file: a, mode: b}]
            password: written-out
        """,
        folder=tmp_path,
        environ={"OIDC_SECRET": "hunter2"},
    )
    assert settings.database == "postgresql://ana:pw@db/x"
    assert isinstance(settings.login, ClassLogin)
    assert settings.login.config == {
        "client_id": "sampan",
        "client_secret": "hunter2",
        "nested": ["postgresql://ana:pw@db/x", {"deep": "hunter2"}, {"file": "a", "mode": "b"}],
        "password": "written-out",
    }
    for shown in (repr(settings), settings.model_dump_json()):
        assert "hunter2" not in shown
        assert "ana:pw" not in shown
        assert "written-out" not in shown
        assert "client_id" in shown
    assert isinstance(settings.login.config["password"], SecretText)


def test_missing_references_are_findings_at_their_place(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    said = errors(
        """\
        database: {file: nowhere}
        hub_database: {env: NOT_SET}
        login: {class: x, config: {a: [{file: empty}], b: {file: binary}, c: {env: BLANK}}}
        """,
        folder=tmp_path,
        environ={"BLANK": ""},
    )
    assert said == [
        f"sampan.yaml:1:18 database.file – {tmp_path}/nowhere cannot be read: No such file or directory",
        "sampan.yaml:2:21 hub_database.env – the environment variable NOT_SET is not set",
        f"sampan.yaml:3:39 login.config.a[0].file – {tmp_path}/empty is empty",
        f"sampan.yaml:3:58 login.config.b.file – {tmp_path}/binary is not UTF-8 text",
        "sampan.yaml:3:76 login.config.c.env – the environment variable BLANK is not set",
    ]


def test_variables_that_the_hub_would_not_see_are_refused() -> None:
    (said,) = errors("database: {env: SAMPAN_DB}", environ={"SAMPAN_DB": "x"})
    assert said.startswith("sampan.yaml:1:17 database.env – the environment variable SAMPAN_DB does not reach the hub")


def test_an_image_may_be_referred_to_and_is_no_secret(tmp_path: Path) -> None:
    text = "backends: {pods: {kind: kubernetes, image: %s}}"
    (tmp_path / "image").write_text("registry.example.org/notebook:2\n")
    for written in ("registry.example.org/notebook:2", "{env: IMAGE}", "{file: image}"):
        settings = parse(text % written, folder=tmp_path, environ={"IMAGE": "registry.example.org/notebook:2"})
        backend = settings.backends["pods"]
        assert isinstance(backend, KubernetesBackend)
        assert backend.image == "registry.example.org/notebook:2"
        assert "notebook:2" in repr(settings)
    assert errors(text % "{env: NOT_SET}", environ={}) == [
        "sampan.yaml:1:50 backends.pods.image.env – the environment variable NOT_SET is not set"
    ]
    assert "expected text" in errors("backends: {pods: {kind: kubernetes, image: i, namespace: {env: X}}}")[0]


def test_references_elsewhere_are_no_references() -> None:
    assert errors("url: {env: HOME}") == ["sampan.yaml:1:6 url – expected text, got keys and values"]


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "~", "\ufeff", "limits:\nsizes:\n"])
def test_an_empty_file_is_all_defaults(text: str) -> None:
    assert parse(text).model_dump() == parse("{}").model_dump()


def test_a_byte_order_mark_and_windows_line_ends_are_fine() -> None:
    settings = parse(b"\xef\xbb\xbfprofile: site\r\nlimits:\r\n  user: {jobs: 3}\r\n")
    assert settings.limits.user.jobs == 3
    assert errors(b"\xef\xbb\xbfprofle: site\r\n") == ["sampan.yaml:1:1 profle – unknown key, did you mean 'profile'?"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"limits:\n\tuser: 3\n", "sampan.yaml:2:1 – not YAML: "),
        (b"a: [1, 2\nb: 3\n", "sampan.yaml:2:"),
        (b"a: 'x\n", "– not YAML: "),
        (b"- a\n- b\n", "sampan.yaml:1:1 – expected keys and values, got a list"),
        (b"just words\n", "sampan.yaml:1:1 – expected keys and values, got a single value"),
        (b"profile: site\n---\nprofile: site\n", "sampan.yaml:2:1 – not YAML: "),
        (b"url: \xff\xfe\n", "sampan.yaml:1:6 – not UTF-8 text"),
        (b"url: a\x00b\n", "sampan.yaml:1:7 – not YAML: the character"),
        (b"? [a, b]\n: c\n", "sampan.yaml:1:3 – a key must be text"),
        (b"url: !!python/object:os.system x\n", "sampan.yaml:1:6 url – the tag "),
        (b"url: *nowhere\n", "sampan.yaml:1:6 – not YAML: found undefined alias"),
        (b"limits: &l {user: *l}\n", "an alias to something it is itself part of"),
        (b"limits: {user: {<<: 5}}\n", "'<<' takes a mapping or a list of mappings"),
        (b"[" * 3_000, "nested too deeply"),
        (b"%YAML 9.9\n---\na: 1\n", "sampan.yaml:"),
        (b"sizes: {s: {cores: !!int x, memory: 1G}}\n", "'x' is not a value of kind int"),
    ],
)
def test_odd_input_is_said_with_its_place(data: bytes, message: str) -> None:
    said = errors(data)
    assert any(message in line for line in said), said
    assert all(line.startswith("sampan.yaml") for line in said)


def test_tabs_get_their_remedy() -> None:
    assert errors(b"limits:\n\tuser: 3\n")[0].endswith("Remedy: indent with spaces")


def test_anchors_and_merge_keys() -> None:
    settings = parse(
        """\
        sizes:
          small: &small {cores: 1, memory: 1G}
          medium: {<<: *small, memory: 2G}
          large: {memory: 8G, <<: [{cores: 4}, *small]}
          same: *small
        """
    )
    assert [(size.cores, size.memory >> 30) for size in settings.sizes.values()] == [(1, 1), (1, 2), (4, 8), (1, 1)]


def test_an_error_in_a_merged_value_is_at_the_anchor_and_an_own_value_keeps_its_place() -> None:
    assert errors(
        """\
        sizes:
          a: &a {cores: lots, memory: 1G}
          b: {<<: *a, memory: none}
        """
    ) == [
        "sampan.yaml:2:17 sizes.a.cores – expected a number, got 'lots'",
        "sampan.yaml:2:17 sizes.b.cores – expected a number, got 'lots'",
        "sampan.yaml:3:23 sizes.b.memory – expected an amount of memory such as 2G or 512M, got 'none'",
    ]


def test_aliases_of_aliases_do_not_grow_without_end() -> None:
    lines = ["a0: &a0 [1,1,1,1,1,1,1,1,1,1]"] + [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    begun_s = time.monotonic()
    assert any("more than 200000 values" in line for line in errors("\n".join(lines)))
    assert time.monotonic() - begun_s < 30


def test_ten_thousand_keys_are_all_read_or_all_refused() -> None:
    names = [f"s{number}" for number in range(10_000)]
    good = "sizes:\n" + "".join(f"  {name}: {{cores: 1, memory: 1G}}\n" for name in names)
    assert list(parse(good).sizes) == names
    said = errors("".join(f"{name}: 1\n" for name in names))
    assert len(said) == 10_000
    assert said[-1].startswith("sampan.yaml:10000:1 s9999 – unknown key")


def test_keys_are_the_text_they_were_written_as() -> None:
    settings = parse("{limits: {users: {1: {jobs: 1}, on: {jobs: 2}, null: {jobs: 3}}}}")
    assert list(settings.limits.users) == ["1", "on", "null"]


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_settings_or_findings(data: bytes) -> None:
    try:
        parse(data)
    except SettingsError as error:
        said = [finding.text for finding in error.findings]
    else:
        return
    assert said
    assert all(said)


def test_which_file_counts(tmp_path: Path) -> None:
    assert find_settings_file(None, {}, tmp_path) is None
    (tmp_path / "sampan.yaml").write_text("")
    assert find_settings_file(None, {}, tmp_path) == tmp_path / "sampan.yaml"
    assert find_settings_file(None, {"SAMPAN_CONFIG": "b.yaml"}, tmp_path) == tmp_path / "b.yaml"
    assert find_settings_file(Path("c.yaml"), {"SAMPAN_CONFIG": "b.yaml"}, tmp_path) == tmp_path / "c.yaml"
    assert find_settings_file(Path("/d.yaml"), {}, tmp_path) == Path("/d.yaml")


def test_load_reads_the_file_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SAMPAN_CONFIG", raising=False)
    assert load_settings().source is None
    assert load_settings().state_dir == tmp_path / ".sampan"
    (tmp_path / "sampan.yaml").write_text("state_dir: here\n")
    settings = load_settings()
    assert settings.state_dir == tmp_path / "here"
    assert settings.source is not None
    assert settings.source.file == "sampan.yaml"


@pytest.mark.parametrize("name", ["missing.yaml", "folder", "dangling.yaml"])
def test_a_file_that_cannot_be_read_is_one_finding(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling.yaml").symlink_to("nowhere")
    with pytest.raises(SettingsError, match=f"{name} – cannot be read: .* --config"):
        load_settings(Path(name))


def test_a_dangling_default_file_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SAMPAN_CONFIG", raising=False)
    (tmp_path / "sampan.yaml").symlink_to("nowhere")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings()


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "sampan.yaml"
    file.write_bytes(b"#" * ((4 << 20) + 1))
    with pytest.raises(SettingsError, match="larger than 4 MiB"):
        load_settings(file)
