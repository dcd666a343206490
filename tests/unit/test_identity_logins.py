"""`login:` and the rest of JupyterHub's configuration, as this package sets it."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from pathlib import Path

import pytest
from jupyterhub.app import JupyterHub
from traitlets.config import Config

from sampan_hub.identity.authenticator import LinkAuthenticator
from sampan_hub.identity.config import apply
from sampan_hub.identity.logins import apply_login, find_authenticator
from sampan_hub.identity.spawner import JobSpawner
from sampan_hub.settings.findings import SettingsError
from sampan_hub.settings.keyfiles import ensure_key_files
from sampan_hub.settings.model import ClassLogin, Settings
from sampan_hub.settings.paths import StatePaths


@dataclass(frozen=True)
class Ports:
    public: int = 8000
    proxy_api: int = 8001
    hub: int = 8081
    service: int = 8082


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    found = StatePaths(tmp_path)
    ensure_key_files(found)
    return found


def with_login(name: str, **config: object) -> Settings:
    return Settings(
        profile="site", isolation="none", login=ClassLogin.model_validate({"class": name, "config": config})
    )


def test_on_a_laptop_the_starter_administers(paths: StatePaths) -> None:
    c = Config()
    apply_login(c, Settings(admins=("ana",)), paths)
    assert c.JupyterHub.authenticator_class is LinkAuthenticator
    assert c.LinkAuthenticator.admin_users == {"ana", getpass.getuser().lower()}


def test_on_a_site_only_those_named_administer(paths: StatePaths) -> None:
    c = Config()
    apply_login(c, Settings(profile="site", login="links", admins=("ana",)), paths)
    assert c.LinkAuthenticator.admin_users == {"ana"}


@pytest.mark.parametrize("name", ["generic-oauth", "oauthenticator.generic.GenericOAuthenticator"])
def test_an_installed_authenticator_passes_through_by_either_name(paths: StatePaths, name: str) -> None:
    c = Config()
    apply_login(c, with_login(name, client_id="x", allowed_users=["ana"]), paths)
    assert c.JupyterHub.authenticator_class.__name__ == "GenericOAuthenticator"
    assert c.GenericOAuthenticator.client_id == "x"
    assert c.GenericOAuthenticator.allowed_users == ["ana"]


def test_administrators_of_both_places_count(paths: StatePaths) -> None:
    c = Config()
    settings = with_login("generic-oauth", admin_users=["ben"]).model_copy(update={"admins": ("ana",)})
    apply_login(c, settings, paths)
    assert c.GenericOAuthenticator.admin_users == {"ana", "ben"}


def test_an_unknown_trait_is_named_with_the_nearest(paths: StatePaths) -> None:
    with pytest.raises(SettingsError) as caught:
        apply_login(Config(), with_login("generic-oauth", clinet_id="x", nonsense=1), paths)
    said = [str(finding) for finding in caught.value.findings]
    assert len(said) == 2
    assert "clinet_id" in said[0]
    assert "did you mean client_id" in said[0]


@pytest.mark.parametrize("name", ["no-such-login", "no.such.Module", "jupyterhub.app.JupyterHub", "os.path"])
def test_what_is_no_authenticator_is_refused_with_a_sentence(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        find_authenticator(name)
    assert name in str(caught.value)


def test_jupyterhub_takes_the_configuration(paths: StatePaths) -> None:
    c = Config()
    apply(c, Settings(url="http://127.0.0.1:8000/lab/"), paths, Ports())
    app = JupyterHub(config=c)
    assert app.base_url == "/lab/"
    assert app.public_url == "http://127.0.0.1:8000/lab/"
    assert app.spawner_class is JobSpawner
    assert app.init_spawners_timeout == 1
    assert (app.concurrent_spawn_limit, app.active_server_limit) == (0, 0)
    assert (app.cleanup_servers, app.cleanup_proxy, app.admin_access) == (False, False, False)
    assert app.db_url == f"sqlite:///{paths.hub_sqlite}"
    for service in app.services:
        assert len(service["api_token"]) == 64


def test_a_server_token_reaches_its_own_server_and_nothing_else(paths: StatePaths) -> None:
    c = Config()
    apply(c, Settings(), paths, Ports())
    assert c.Spawner.server_token_scopes == ["users:activity!user", "access:servers!server"]
    assert c.Spawner.env_keep == [], "the hub's own environment stays its own"


@pytest.mark.parametrize(
    ("settings", "bound"),
    [
        (Settings(url="http://127.0.0.1:8000/"), "http://127.0.0.1:8000/"),
        (Settings(url="https://hub.example.org/x/", listen="0.0.0.0:8000"), "http://0.0.0.0:8000/x/"),
        (Settings(url="http://[::1]:8000/"), "http://[::1]:8000/"),
    ],
)
def test_where_the_proxy_listens_is_told_to_the_hub(paths: StatePaths, settings: Settings, bound: str) -> None:
    c = Config()
    apply(c, settings, paths, Ports())
    assert c.JupyterHub.bind_url == bound
    is_https = settings.url.startswith("https")
    assert ("cookie_options" in c.JupyterHub.tornado_settings) is is_https
