"""The proxy, where it is apart: asked as the hub asks it."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

from sampan_hub.cli.supervise.site import Site
from sampan_hub.settings.keyfiles import KeyFileError, read_key
from sampan_hub.settings.layout import Layout
from sampan_hub.trust.internal import make_internal_context

ASK_TIMEOUT_S = 10.0


def ask_proxy(site: Site, layout: Layout) -> str | None:
    """What is wrong with its answer to our certificate and token; None when nothing is."""
    place = urlsplit(layout.proxy_api)
    try:
        token = read_key(site.paths.key("proxy-token")).decode()
        context = make_internal_context(site.paths.tls)
        connection = http.client.HTTPSConnection(
            str(place.hostname), place.port, timeout=ASK_TIMEOUT_S, context=context
        )
        connection.request("GET", "/api/routes", headers={"Authorization": f"token {token}"})
        answer = connection.getresponse()
        answer.read()
        connection.close()
    except (OSError, http.client.HTTPException, KeyFileError) as error:
        return f"the proxy does not answer at {layout.proxy_api}: {error or type(error).__name__}"
    return None if answer.status == http.client.OK else f"the proxy refuses our token: HTTP status {answer.status}"
