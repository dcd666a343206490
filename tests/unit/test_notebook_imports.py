"""What a notebook's start imports, and what it leaves out."""

from __future__ import annotations

import subprocess
import sys

LEAN = """
import sys
import sampan.notebook
assert not {"dask", "distributed", "tornado", "jupyter_server", "asyncio"} & set(sys.modules)
from sampan.lab import lean
lean.prepare()
import sampan.lab.server, jupyterlab.labapp, sampan.lab.extension
heavy = {"sqlalchemy", "alembic", "dask", "distributed", "bokeh", "numpy", "rfc3987_syntax"}
loaded = {m.split(".")[0] for m, module in sys.modules.items() if module is not None}
assert not heavy & loaded, heavy & loaded
assert sampan.lab.server.JupyterHubSingleUser.name == "jupyterhub-singleuser"
import sqlalchemy, jupyterhub.orm, jupyterhub.handlers
assert sqlalchemy.__version__ and jupyterhub.orm.User.__tablename__ == "users"
"""

OTHER_JUPYTERHUB = """
import sys
import sampan.lab.lean as lean
lean._DATABASE_HALF["sqlalchemy.exc"].clear()  # a JupyterHub that takes a name we do not know of
single_user = lean.import_single_user()
assert single_user.JupyterHubSingleUser.name == "jupyterhub-singleuser"
assert sys.modules["sqlalchemy"].__version__
"""


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_server_starts_without_what_it_never_uses() -> None:
    run(LEAN)


def test_another_jupyterhub_is_imported_as_it_comes() -> None:
    run(OTHER_JUPYTERHUB)


def test_a_server_that_is_no_job_of_ours_is_left_alone() -> None:
    run(
        "import os, sampan.lab; os.environ.pop('SAMPAN_SERVICE', None); sampan.lab._load_jupyter_server_extension(None)"
    )


def test_a_jobs_first_words_import_nothing_heavy() -> None:
    run(
        "import sys, sampan._job; heavy = {'asyncio', 'tornado', 'dask', 'distributed', 'numpy', 'cryptography'};"
        " assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
