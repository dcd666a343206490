"""Faults over the real cluster: light installations (the real service, backend, run-as and sudo; jobs are a tiny
program), what can be done to them and to Slurm, and a judge that believes Slurm and the process lists alone.
"""
