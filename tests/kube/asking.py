"""What a stranger asks from a pod on the installed chart, and how what he gets is read."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kube.chart_rig import Release
from tests.support import stranger
from tests.support.installation import wait_until
from tests.support.person import Notebook, Person, RemoteKernel
from tests.testbeds.kube.cluster import KubeCluster

STRANGER = Path(stranger.__file__).read_text()
RESULT = "result-of-alice-51c7e0d2"
METADATA = "169.254.169.254"
CREDENTIALS = "credentials-of-the-cloud-9b1f"
PROBE = """
import json, os, subprocess, sys
asked = [subprocess.Popen([sys.executable, "-I", "-c", stranger, json.dumps([address]), *pairs], stdout=-1, text=True)
         for address in addresses]
print(json.dumps([seen for each in asked for seen in json.loads(each.communicate()[0])]))
"""
PAIRS = """
import os
pairs = [os.environ["JUPYTERHUB_SSL_CERTFILE"], os.environ["JUPYTERHUB_SSL_KEYFILE"]]
pairs += [os.environ[f"DASK_DISTRIBUTED__COMM__TLS__CLIENT__{end}"] for end in ("CERT", "KEY")]
"""
AS_A_CLIENT = """
import json
from distributed import Client
outcomes = {}
for address in addresses:
    try:
        with Client(address, security=client.security, timeout=4, set_as_default=False) as other:
            outcomes[address] = repr(other.submit(sum, [1, 2]).result(20))
    except OSError as error:
        outcomes[address] = "refused"
print(json.dumps(outcomes))
"""
LISTENERS = """
import re, pathlib
for name in ("tcp", "tcp6"):
    for line in pathlib.Path("/proc/net", name).read_text().splitlines()[1:]:
        words = line.split()
        host, port = words[1].split(":")
        if words[3] == "0A" and host not in ("0100007F", "00000000000000000000000001000000"):
            print(int(port, 16))
"""
FETCH = """
import json, ssl, sys, urllib.error, urllib.request
trust = ssl.create_default_context()
trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
answers = {}
for name, (method, url, headers, body) in json.loads(asked).items():
    request = urllib.request.Request(url, method=method, headers=headers, data=body and json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=8, context=trust) as answer:
            answers[name] = [answer.status, answer.read(2000).decode(errors="replace")]
    except urllib.error.HTTPError as error:
        answers[name] = [error.code, error.read(2000).decode(errors="replace")]
    except OSError as error:
        answers[name] = [0, type(error).__name__]
print(json.dumps(answers))
"""
Request = tuple[str, str, dict[str, str], Any]


@dataclass(frozen=True, slots=True)
class Working:
    """Somebody with a notebook, a kernel in it, and perhaps a cluster."""

    person: Person
    notebook: Notebook
    kernel: RemoteKernel

    @property
    def job(self) -> dict[str, Any]:
        return self.notebook.job

    def fetch(self, asked: Mapping[str, Request]) -> dict[str, list[Any]]:
        """By name, status and text of what the kernel gets; status 0: no answer, and the error's name."""
        return dict(json.loads(self.kernel.run(f"asked = {json.dumps(asked)!r}\n{FETCH}", 90)))


def check_nothing_said(report: list[dict[str, Any]]) -> None:
    for seen in report:
        for answer in seen["http"].values():
            status = answer.split(" ", 2)[1] if answer.startswith("HTTP/") else ""
            assert not status.startswith("2"), seen
            assert RESULT not in answer, seen
        for word in (seen["tls"], *seen["tls_as_oneself"]):
            assert not word.startswith("said") or word == "said 0 bytes", seen
        assert RESULT not in seen["zmq"], seen


def probe(kernel: RemoteKernel, addresses: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a stranger in this kernel's pod gets of them, who also shows the certificates that are his."""
    given = f"stranger = {STRANGER!r}; addresses = {addresses!r}\n{PAIRS}\n"
    return list(json.loads(kernel.run(given + PROBE, 150)))


def token_of(release: Release, working: Working) -> str:
    """What the cluster put into the pod of this notebook."""
    pod = f"notebook-{working.job['id'].replace('.', '-')}"
    return release.kubectl("exec", pod, "--", "cat", "/var/run/sampan/token").strip()


def encode_claims(claims: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")


@contextmanager
def served_by_the_node(kube: KubeCluster) -> Iterator[None]:
    """Credentials at the address where clouds have them."""
    page = f"HTTP/1.0 200 OK\\r\\n\\r\\n{CREDENTIALS}"
    serve = (
        "import socket\n"
        f"server = socket.create_server(('{METADATA}', 80))\n"
        "while True:\n"
        "    asked, _ = server.accept()\n"
        f"    asked.recv(9999); asked.sendall(b'{page}'); asked.close()\n"
    )
    address = [*kube.inside(), "ip", "address"]
    kube.run([*address, "replace", f"{METADATA}/32", "dev", "lo"])
    process = subprocess.Popen([*kube.inside(), "python3", "-I", "-c", serve])
    try:
        fetch = f"import urllib.request as u; print(u.urlopen('http://{METADATA}/', timeout=3).read().decode())"
        said = lambda: kube.run([*kube.inside(), "python3", "-I", "-c", fetch], check=False).stdout  # noqa: E731
        wait_until(lambda: CREDENTIALS in said(), 20, "the node serves credentials")
        yield
    finally:
        process.kill()
        process.wait()
        kube.run([*address, "del", f"{METADATA}/32", "dev", "lo"])


def as_bearer(kube: KubeCluster, token: str, path: str) -> int:
    """The API server's status for who has this token and nothing else."""
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(f"https://{kube.NODE_IP}:6443{path}", headers={"Authorization": f"Bearer {token}"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
    try:
        with opener.open(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
