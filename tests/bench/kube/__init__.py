"""Measures on a real Kubernetes: Sampan as its chart installs it, beside KubeSpawner and dask-kubernetes."""
