"""What JupyterHub writes of requests: never the secret of a login link."""

from __future__ import annotations

from typing import Any

from jupyterhub.log import log_request


def log_request_without_query(handler: Any) -> None:
    """JupyterHub's own line, but for error pages that the proxy asks for.

    Their query holds the whole URL that the proxy could not serve, whose `token` JupyterHub does not see and would log.
    """
    request = handler.request
    if "/error/" in request.path:
        request.uri = request.path
    log_request(handler)
