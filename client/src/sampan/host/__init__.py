"""A cluster's host: a detached process beside the notebook that holds the Dask scheduler and asks for workers."""
