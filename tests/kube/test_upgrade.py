"""From packaged chart A to packaged chart B: other image tags, another size. Who starts nothing notices nothing."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sampan_hub.settings.edit import with_key, write_text
from tests.kube.chart import CHART
from tests.kube.chart_rig import NAME, Release, installed
from tests.kube.conftest import REGISTRY, Images
from tests.support.installation import wait_until
from tests.support.person import Notebook, Person
from tests.testbeds.kube.cluster import KubeCluster

OLD, NEW = "0.1.0", "0.1.1"
COUNT = "import time\nfor number in range(100000):\n    print(number, flush=True)\n    time.sleep(0.2)\n"


def package(kube: KubeCluster, folder: Path, version: str) -> Path:
    """`helm package` of the chart, as it would be released under this version."""
    source = folder / f"chart-{version}"
    shutil.copytree(CHART, source)
    about = source / "Chart.yaml"
    text = about.read_text()
    for key in ("version", "appVersion"):
        text = with_key(text, (key,), version)
    write_text(about, text)
    kube.run(["helm", "package", str(source), "--destination", str(folder)])
    return folder / f"sampan-{version}.tgz"


class Watching:
    """One websocket to a kernel that counts, from its first number on."""

    def __init__(self, session: aiohttp.ClientSession, channels: aiohttp.ClientWebSocketResponse) -> None:
        self._session, self._channels = session, channels

    @classmethod
    async def begin(cls, notebook: Notebook, kernel_id: str) -> Watching:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=notebook.site.trust),
            headers={"Authorization": f"token {notebook.person.token}"},
        )
        url = f"{notebook.base}/api/kernels/{kernel_id}/channels"
        made = cls(session, await session.ws_connect(url, max_msg_size=0))
        header = {
            "msg_id": "count",
            "msg_type": "execute_request",
            "session": "count",
            "username": "",
            "version": "5.3",
        }
        content = {"code": COUNT, "silent": False, "store_history": False, "allow_stdin": False}
        parts = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "buffers": []}
        await made._channels.send_str(json.dumps({"channel": "shell", **parts}))
        return made

    async def next_number(self) -> int:
        """The next that it prints; raises when the websocket was closed meanwhile."""
        async with asyncio.timeout(30):
            while True:
                message = await self._channels.receive_json()
                if message["msg_type"] == "stream":
                    return int(message["content"]["text"].split()[-1])

    async def end(self) -> None:
        await self._channels.close()
        await self._session.close()


@pytest.fixture
def release(kube: KubeCluster, images: Images) -> Iterator[Release]:
    kube.load_image(images.hub.removeprefix(f"{REGISTRY}/"), f"{REGISTRY}/sampan/hub:{NEW}")
    kube.load_image(images.notebook.removeprefix(f"{REGISTRY}/"), f"{REGISTRY}/sampan/notebook:{NEW}")
    kube.load_image(images.postgresql.removeprefix(f"{REGISTRY}/"), f"{REGISTRY}/sampan/postgresql:{NEW}")
    with installed(kube, REGISTRY, "e-upgrade") as made:
        yield made


def image_of(pod: dict[str, Any]) -> str:
    (container,) = (each for each in pod["spec"]["containers"] if each["name"] == "main")
    return str(container["image"])


def pod_of(release: Release, job: dict[str, Any]) -> dict[str, Any]:
    (pod,) = release.pods(job=job["id"])
    return pod


@pytest.mark.timeout(600)
def test_an_upgrade_is_noticed_only_by_who_starts_something(
    kube: KubeCluster, release: Release, tmp_path: Path
) -> None:
    release.upgrade(chart=package(kube, tmp_path, OLD))
    alice = Person(release, "alice")
    before = alice.start()
    kernel = before.kernel()
    watching = release.talk(Watching.begin(before, kernel.id))
    try:
        check_upgrade(kube, release, tmp_path, alice, before, watching)
    finally:
        release.talk(watching.end())
    check_what_is_new(release, alice, before)
    check_uninstalled(release, alice)


def check_upgrade(
    kube: KubeCluster, release: Release, tmp_path: Path, alice: Person, before: Notebook, watching: Watching
) -> None:
    """The notebook of before, its kernel, the websocket and the login of its person go on."""
    (kernel_id,) = before.kernel_ids()
    proxy, hub = release.component("proxy"), release.component("hub")
    counted = release.talk(watching.next_number())
    pod = pod_of(release, before.job)

    release.upgrade({"config": {"sizes": {"small": {"memory": "800M"}}}}, chart=package(kube, tmp_path, NEW))

    after = release.component("proxy"), release.component("hub")
    assert after[0]["metadata"]["uid"] == proxy["metadata"]["uid"], "the proxy stayed"
    assert after[1]["metadata"]["uid"] != hub["metadata"]["uid"]
    assert release.talk(watching.next_number()) > counted, "the same websocket, the same count"
    assert before.kernel_ids() == [kernel_id]
    assert alice.browse("/hub/home") == 200, "the session of before"
    assert pod_of(release, before.job)["metadata"]["uid"] == pod["metadata"]["uid"]
    assert image_of(pod).endswith(f":{OLD}")


def check_what_is_new(release: Release, alice: Person, before: Notebook) -> None:
    """A server that starts now has the new image and the changed size."""
    before.stop()
    new = pod_of(release, alice.start().job)
    assert image_of(new).endswith(f":{NEW}")
    (container,) = (each for each in new["spec"]["containers"] if each["name"] == "main")
    assert container["resources"]["limits"]["memory"] == str(800 << 20)


def check_uninstalled(release: Release, alice: Person) -> None:
    """It says what stays; installed again, everything is as it was."""
    said = release.uninstall()
    assert "No job runs any more" in said
    wait_until(lambda: not release.pods(), 60, "no pod of a job is left")
    claims = {each["metadata"]["name"] for each in release.get("pvc")["items"]}
    assert {"home-alice", "sampan-state", "data-postgresql-0"} <= claims
    release.helm("install", NAME, str(CHART), values=release.values)
    release.wait_until_ready()
    assert alice.browse("/hub/home") == 200, "the same keys, the same databases: the session of before"
