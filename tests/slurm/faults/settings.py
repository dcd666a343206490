"""The settings of a light installation."""

from __future__ import annotations

from tests.slurm.faults.ground import COMMANDS, FOLDER, RUN_AS, SHARED
from tests.testbeds.slurm.profile import JOB_PORTS, NETWORK


def render_settings(name: str, url: str) -> str:
    """Its `sampan.yaml`. `brief` ends by its walltime; `shelf` goes to a partition that can be closed."""
    return f"""
profile: site
url: {url}/{name}/
tls: {{certificate: {FOLDER}/entry.crt, key: {FOLDER}/entry.key, ca: {FOLDER}/ca.crt}}
login: links
state_dir: {FOLDER}/{name}/state
environments: {{default: {{prefix: {SHARED}/env}}}}
sizes:
  tiny: {{cores: 1, memory: 150M}}
  brief: {{cores: 1, memory: 150M}}
  shelf: {{cores: 1, memory: 150M}}
projects: {{lab: {{members: [alice, bob]}}}}
backends:
  slurm:
    kind: slurm
    partition: compute
    account: common
    network: {NETWORK}
    ports: {{first: {JOB_PORTS[0]}, last: {JOB_PORTS[1]}}}
    walltime: 50m
    commands: {COMMANDS}
    run_as: {RUN_AS}
    sizes:
      brief: {{walltime: 1m}}
      shelf: {{partition: gpu, walltime: 20m}}
"""
