"""The `local` backend: jobs are processes of this machine, each under a keeper of its own (`shim`).

Everything known of a job lies in its folder `<root>/<job id>/` (0700, files 0600):

| file | written by | when |
|---|---|---|
| `identity.json`, `spec.json`, `private/` | service | together, in one rename, before anything starts |
| `lock` | keeper | held (flock) from before the start to the end: one keeper, one process |
| `started.json` | keeper | before the job's program runs |
| `cancel` | service | a stop was asked |
| `output.log`, `output.tail…` | keeper | as the job speaks, capped |
| `ended.json` | keeper | when nothing of the job runs any more |
| `keeper.log` | keeper | complaints of the keeper itself; normally empty |

A job's run identity is `<pid>:<start>:<boot>`: the pid of its main process (the one that became its program),
field 22 of that process's `/proc/<pid>/stat`, and `/proc/sys/kernel/random/boot_id`.

Keepers and jobs are forked by a short process of their own (`launcher`), or, where one is ready, by a fork server that
has imported what the job will need (`forking`); everything above holds for both.
"""

from sampan_hub.backends.local.backend import LocalBackend

__all__ = ["LocalBackend"]
