"""A cluster to try things on: a root shell on its hub host, and down when that ends."""

from __future__ import annotations

import argparse
import subprocess

from tests.testbeds.slurm.cluster import running_cluster
from tests.testbeds.slurm.profile import PROFILES


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.testbeds.slurm", description=__doc__)
    parser.add_argument("profile", nargs="?", choices=sorted(PROFILES), default="delay0")
    with running_cluster(PROFILES[parser.parse_args().profile]) as cluster:
        print(f"The cluster's folder is {cluster.folder}. Enter a node with:")
        for machine in cluster.machines.values():
            print(f"  {' '.join(machine.entering('root'))} bash")
        subprocess.run([*cluster.hub.entering("root"), "env", "-C", "/root", "bash"], check=False)


if __name__ == "__main__":
    main()
