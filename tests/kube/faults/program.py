#!/usr/bin/python3
"""A notebook job's whole program. It lies in an image with the client beside it.

Its own faults: `disk` writes more than /scratch may hold, `exit` ends with an error.
"""

import os
import ssl
import sys
import urllib.request
from pathlib import Path

sys.path.insert(0, "/opt/faults/lib")

from job_program import run

from sampan._job import Access


def tell_that_it_works(bootstrap: Access) -> None:
    """Whoever is not heard does not go on."""
    entry = bootstrap.service.rsplit("/", 3)[0]
    trust = ssl.create_default_context(cadata=bootstrap.ca)
    url = f"{entry}/runs/{bootstrap.job}/{os.environ['SAMPAN_RUN']}"
    urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=60, context=trust).close()


def fill_scratch() -> None:
    Path("/scratch/much").write_bytes(bytes(64 << 20))


def end_with_an_error() -> None:
    sys.exit("it ends with an error, as it was told to")


run(tell_that_it_works, {"disk": fill_scratch, "exit": end_with_an_error})
