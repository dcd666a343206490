"""Whose certificate the proxy asks for behind a route over TLS: what `by_job.cjs` makes of the proxy's own requests."""

from __future__ import annotations

import json
import subprocess

from sampan_hub.cli.supervise.commands import BY_JOB
from sampan_hub.cli.supervise.prepare import find_proxy

SCRIPT = """
const https = require("node:https");
const seen = [];
https.request = function (options, callback) { seen.push(options); };
require(process.argv[1]);
https.request({ url: "https://hub@hub:8443/x", hostname: "hub" });
const own = Object.assign(new URL("https://x"), { ca: "ca" });
https.request("https://hub@[fd00::7]:8443/hub/error/503?url=%2Fx", own, () => {});
const [first, page] = seen;
const proven = (options, cn, names) =>
  options.checkServerIdentity("any", { subject: { CN: cn }, subjectaltname: names })?.message ?? "yes";
console.log(JSON.stringify({
  name: first.servername,
  proven: [proven(first, "hub", "DNS:hub"), proven(first, "service", "DNS:hub"), proven(first, "hub", "DNS:x")],
  page: [page.servername, page.hostname, page.path, page.port, page.ca, page.auth ?? null],
}));
"""


def test_the_proxy_asks_for_the_certificate_of_whom_a_target_names() -> None:
    done = subprocess.run(
        [str(find_proxy()[0]), "-e", SCRIPT, str(BY_JOB)], capture_output=True, text=True, check=True, timeout=60
    )
    said = json.loads(done.stdout)
    assert (said["name"], *said["proven"][:2]) == ("hub", "yes", "not who this route is for (hub)")
    assert "Hostname/IP does not match" in said["proven"][2]
    assert said["page"] == ["hub", "fd00::7", "/hub/error/503?url=%2Fx", 8443, "ca", None]
