"""Everything inside JupyterHub: its configuration, JobSpawner, authenticators and page templates."""
