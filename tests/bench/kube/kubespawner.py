"""JupyterHub with KubeSpawner, hub and proxy a pod each as in zero-to-jupyterhub, with that chart's own settings."""

from __future__ import annotations

import asyncio
import secrets
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.bench.hubs import HubClient, hub_client
from tests.bench.kube import images
from tests.bench.kube.objects import make_few_resources, make_pod, make_service
from tests.support.installation import wait_until
from tests.testbeds.kube.cluster import KubeCluster

KUBESPAWNER = "KubeSpawner, JupyterHub"
HUB_PORT, PROXY_PORT, API_PORT = 8081, 8000, 8001
NODE = "/opt/sampan/node"
CONFIG = """
c = get_config()
c.JupyterHub.bind_url = "http://:{proxy_port}/"
c.JupyterHub.hub_bind_url = "http://:{hub_port}"
c.JupyterHub.hub_connect_url = "http://hub:{hub_port}"
c.JupyterHub.db_url = "sqlite:////srv/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = "/srv/cookie_secret"
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = "http://proxy-api:{api_port}"
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
c.JupyterHub.last_activity_interval = 60
c.JupyterHub.concurrent_spawn_limit = 0
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.services = [{{"name": "bench", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [{{"name": "bench", "services": ["bench"], "scopes": [
    "admin:users", "admin:servers", "servers", "tokens", "access:servers", "proxy", "read:hub"]}}]
c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.KubeSpawner.namespace = {namespace!r}
c.KubeSpawner.image = {image!r}
c.KubeSpawner.image_pull_policy = "IfNotPresent"
c.KubeSpawner.cmd = ["jupyterhub-singleuser"]
c.KubeSpawner.default_url = "/lab"
c.KubeSpawner.start_timeout = c.KubeSpawner.http_timeout = 300
c.KubeSpawner.uid = c.KubeSpawner.fs_gid = 1000
c.KubeSpawner.working_dir = "/home/user"
c.KubeSpawner.storage_pvc_ensure = True
c.KubeSpawner.storage_access_modes = ["ReadWriteOnce"]
c.KubeSpawner.storage_capacity = "1Gi"
c.KubeSpawner.volumes = {{"home": {{"name": "home", "persistentVolumeClaim": {{"claimName": "{{pvc_name}}"}}}}}}
c.KubeSpawner.volume_mounts = {{"home": {{"name": "home", "mountPath": "/home/user"}}}}
c.KubeSpawner.cpu_guarantee = c.KubeSpawner.cpu_limit = {cores}
c.KubeSpawner.mem_guarantee = c.KubeSpawner.mem_limit = {memory!r}
{more}
"""
"""Where it differs from zero-to-jupyterhub: all starts at once are allowed, and no container that blocks addresses
runs before the notebook's."""


@asynccontextmanager
async def kubespawner_hub(
    kube: KubeCluster, namespace: str, cores: float, memory_mib: int, more: str = ""
) -> AsyncIterator[HubClient]:
    """It answers; its pods and those of its servers are gone afterwards. `more` is added to its configuration."""
    token, proxy_token = secrets.token_hex(16), secrets.token_hex(32)
    config = CONFIG.format(
        proxy_port=PROXY_PORT,
        hub_port=HUB_PORT,
        api_port=API_PORT,
        token=token,
        namespace=namespace,
        image=images.NOTEBOOK,
        cores=cores,
        memory=f"{memory_mib}M",
        more=more,
    )
    await asyncio.to_thread(_apply, kube, namespace, config, proxy_token)
    try:
        service = await asyncio.to_thread(kube.get, "service", "proxy-public", namespace=namespace)
        url = f"http://{kube.NODE_IP}:{service['spec']['ports'][0]['nodePort']}"
        await asyncio.to_thread(wait_until, lambda: _answers(f"{url}/hub/api/"), 180, "the peer's hub")
        async with hub_client(url, token) as hub:
            yield hub
    finally:
        await asyncio.to_thread(_delete, kube, namespace)


def _apply(kube: KubeCluster, namespace: str, config: str, proxy_token: str) -> None:
    shared = {"CONFIGPROXY_AUTH_TOKEN": proxy_token}
    proxy = [
        f"{NODE}/bin/node",
        f"{NODE}/node_modules/configurable-http-proxy/bin/configurable-http-proxy",
        "--ip=0.0.0.0",
        f"--port={PROXY_PORT}",
        "--api-ip=0.0.0.0",
        f"--api-port={API_PORT}",
        f"--default-target=http://hub:{HUB_PORT}",
        f"--error-target=http://hub:{HUB_PORT}/hub/error",
    ]
    hub = ["python", "-m", "jupyterhub", "--config", "/etc/peer/jupyterhub_config.py"]
    kube.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "hub"},
         "data": {"jupyterhub_config.py": config}},
        make_service("hub", "hub", {"hub": HUB_PORT}),
        make_service("proxy-public", "proxy", {"http": PROXY_PORT}, public=True),
        make_service("proxy-api", "proxy", {"api": API_PORT}),
        make_pod("proxy", images.HUB, proxy, env=shared, resources=make_few_resources()),
        make_pod("hub", images.PEERS, hub, env=shared, config="hub", resources=make_few_resources()),
        namespace=namespace,
    )  # fmt: skip


def _delete(kube: KubeCluster, namespace: str) -> None:
    """The hub first, or it would take its servers' ends for failures."""
    place = f"--namespace={namespace}"
    for selector in ("peer in (hub,proxy)", "component=singleuser-server"):
        words = ["pods", place, f"--selector={selector}", "--grace-period=1", "--timeout=180s"]
        kube.kubectl("delete", *words, timeout_s=190)
    names = ["hub", "proxy-public", "proxy-api", "--ignore-not-found"]
    kube.kubectl("delete", "services,configmaps", place, *names)


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code == 403
    except OSError:
        return False
