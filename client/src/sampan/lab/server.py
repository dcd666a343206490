"""The Jupyter server of a notebook job: JupyterHub's single-user server, on a socket that already listens."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from typing import Any

from jupyter_server.serverapp import ServerApp
from jupyter_server.services.kernels.kernelmanager import MappingKernelManager
from jupyterhub.singleuser.extension import JupyterHubSingleUser
from traitlets import Instance
from traitlets.config import Config

from sampan.lab import first, lean
from sampan.tls import NotebookTls

EXTENSIONS = {
    "jupyterhub": True,
    "jupyterlab": True,
    "jupyter_server_terminals": True,
    "sampan.lab": True,
    "dask_labextension": False,
}
"""Explicit, so that they hold in an editable install too, which has no data files. Ours serves the sidebar of
dask-labextension, whose own server part would import Dask at every start and manage clusters that die with it."""


LAB_EXTENSIONS = Path(__file__).resolve().parents[1] / "labextensions"
"""Where our prebuilt extension lies, in an editable install too. It switches off JupyterLab's question about news."""


class NotebookServer(ServerApp):
    """A ServerApp that never binds: it serves `listener`, bound and listening since before it was imported."""

    listener = Instance(socket.socket)
    tls = Instance(NotebookTls, allow_none=True)
    no_browser_open_file = True  # nobody opens a browser here, and the file would hold the token

    def _find_http_port(self) -> None:
        self.ip, self.port = self.listener.getsockname()[:2]

    def init_httpserver(self) -> None:
        """JupyterHub has one authority for the hub and for who may connect; here only the front's may connect."""
        super().init_httpserver()
        if self.tls is not None:
            self.http_server.ssl_options = self.tls.make_context()

    def _bind_http_server_tcp(self) -> bool:
        self.http_server.add_socket(self.listener)
        return True


def make_server(listener: socket.socket, tls: NotebookTls | None = None) -> Any:
    """The server, initialized from the environment that JupyterHub's spawner gave, ready to `start()`."""
    app = JupyterHubSingleUser
    app.serverapp_class = NotebookServer
    server = app.make_serverapp(listener=listener, tls=tls, jpserver_extensions=dict(EXTENSIONS), config=make_config())
    server.initialize(argv=[], starter_extension=app.name, find_extensions=app.load_other_extensions)
    return server


def make_config() -> Config:
    """Our defaults. A person's own Jupyter configuration, read after this, may change any of them."""
    config = Config()
    for trait in ("keyfile", "certfile", "client_ca"):  # JupyterHub reads these when it is imported: in a fork, early
        config.HubAuth[trait] = os.environ.get(f"JUPYTERHUB_SSL_{trait.upper()}", "")
    config.ServerApp.allow_root = os.geteuid() == 0
    config.ServerApp.root_dir = os.environ.get("JUPYTERHUB_ROOT_DIR") or str(Path.cwd())
    shell = os.environ.get("SHELL") or shutil.which("bash") or "/bin/sh"
    config.ServerApp.terminado_settings = {"shell_command": [shell]}  # a login shell would put its own PATH first
    if first.is_first():
        config.ServerApp.default_url = first.FIRST_URL
    config.KernelManager.transport = "ipc"  # TCP would show a kernel's output to everybody on this machine
    config.MappingKernelManager.untracked_message_types = [
        *MappingKernelManager.untracked_message_types.default(),
        "usage_request",  # jupyter-resource-usage asks while its panel is open: no work of anybody's
        "usage_reply",
    ]
    config.LanguageServerManager.node_roots = lean.node_roots()
    config.LabApp.extra_labextensions_path = [str(LAB_EXTENSIONS)]
    config.LabApp.news_url = None
    config.LabApp.check_for_updates_class = "jupyterlab.handlers.announcements.NeverCheckForUpdate"
    config.LabApp.extension_manager = "readonly"  # the other one asks PyPI whenever its panel is looked at
    return config
