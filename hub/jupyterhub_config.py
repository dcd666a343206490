"""JupyterHub's configuration file: everything in it comes from sampan.yaml."""

from sampan_hub.identity.config import load_and_apply

load_and_apply(get_config())  # noqa: F821 - JupyterHub gives this name to its configuration file
