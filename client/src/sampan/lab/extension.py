"""Loading of the server extension: what a notebook job's server gets on top of JupyterLab."""

from __future__ import annotations

import os
from typing import Any

from jupyter_server.utils import url_path_join

from sampan._api import read_session
from sampan.lab.activity import ActivityReporter
from sampan.lab.first import FIRST_URL, FirstHandler
from sampan.lab.remote import Remote
from sampan.lab.sidebar import ClusterHandler
from sampan.lab.sockets import DashboardHandler, SidebarDashboardHandler
from sampan.lab.status import KeepHandler, StatusHandler, make_reader, work_url
from sampan.security import dask_environment, ensure_keys

CLUSTER_ID = r"(\w+-\w+-\w+-\w+-\w+)"


def load(server: Any) -> None:
    """Keys into the environment of kernels, handlers into the server, and a reporter beside it.

    Nothing at all on a server that is no job of Sampan's. Dask is not imported here, but when a cluster is touched.
    """
    session = read_session()
    if session is None:
        return
    os.environ.update(dask_environment(ensure_keys(session.job_dir)))
    base = server.web_app.settings["base_url"]
    server.sampan_activity = ActivityReporter(server, session)
    reaching = {"remote": Remote(session)}
    asking = {"reader": make_reader(session), "activity": server.sampan_activity}
    server.web_app.settings.setdefault("page_config_data", {})["sampanWorkUrl"] = work_url()
    server.web_app.add_handlers(
        ".*$",
        [
            (url_path_join(base, FIRST_URL), FirstHandler),
            (url_path_join(base, "sampan/status"), StatusHandler, asking),
            (url_path_join(base, "sampan/keep"), KeepHandler, asking),
            (url_path_join(base, r"sampan/([\w.-]+)/(.*)"), DashboardHandler, reaching),
            (url_path_join(base, f"dask/clusters/{CLUSTER_ID}"), ClusterHandler, reaching),
            (url_path_join(base, "dask/clusters/?"), ClusterHandler, reaching),
            (url_path_join(base, f"dask/dashboard/{CLUSTER_ID}(.*)"), SidebarDashboardHandler, reaching),
        ],
    )
    server.sampan_activity.start()
