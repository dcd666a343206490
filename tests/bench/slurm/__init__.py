"""Sampan on a real Slurm beside its peers: batchspawner, dask-jobqueue, dask-gateway; see tests/testbeds/slurm.

`environment` builds what the peers need, `bed` starts a cluster with everything on it, the other modules measure.
"""
