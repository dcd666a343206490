"""The `slurm` backend: jobs are Slurm jobs of the person who asked.

| part | what |
|---|---|
| `names`, `comment`, `batching` | what Slurm keeps of a job: its key in the name, its signed identity in the comment |
| `placement`, `stage`, `start.py` | what a job asks for, and what travels to its node |
| `submitting`, `acting` | putting it there, as its person |
| `commands`, `configuration`, `listing`, `sighting` | looking: one `squeue` for everything |
| `states`, `reasons`, `refusals` | Slurm's words in ours: closed tables |
| `accounting`, `evidence`, `ends` | how jobs ended: `sacct`, and what counts as proof |
| `journal` | where logs and folders are: a memory, never the truth |
"""

from sampan_hub.backends.slurm.backend import SlurmBackend

__all__ = ["SlurmBackend"]
