"""The settings of a light installation."""

from __future__ import annotations

from pathlib import Path

PROGRAM = "/opt/faults/program.py"
SHELF = "faults.sampan.io/shelf"
"""A label that no node has: pods that ask for it wait."""
SCRATCH_MIB = 16
MEMORY = "150M"
SIZES = ("tiny", "shelf")


def render_settings(
    *, name: str, url: str, ground: Path, namespace: str, image: str, kubeconfig: Path, host: str
) -> str:
    """Its `sampan.yaml`."""
    sizes = "".join(f"  {size}: {{cores: 0.05, memory: {MEMORY}}}\n" for size in SIZES)
    return f"""
profile: site
url: {url}/
tls: {{certificate: {ground}/entry.crt, key: {ground}/entry.key, ca: {ground}/ca.crt}}
login: links
state_dir: {ground}/{name}/state
environments:
  default: {{prefix: /opt/faults}}
  missing: {{prefix: /opt/faults, image: kt.local/faults/never-made:1}}
sizes:
{sizes}
projects: {{lab: {{members: [alice, bob]}}}}
backends:
  kubernetes:
    kind: kubernetes
    namespace: {namespace}
    kubeconfig: {kubeconfig}
    image: {image}
    image_pull_policy: Never
    reach: {url}/
    cluster_host: notebook
    internet: false
    allow: [{host}/32]
    storage:
      home: {{class: shared-path, access: ReadWriteMany, size: 1G}}
      scratch: {{size: {SCRATCH_MIB}M}}
    sizes:
      shelf: {{node_selector: {{{SHELF}: "yes"}}}}
"""
