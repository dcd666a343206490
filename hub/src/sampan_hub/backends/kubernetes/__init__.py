"""The `kubernetes` backend: jobs are pods.

| part | what |
|---|---|
| `client` | the API server, asked in JSON |
| `names`, `identity` | what Kubernetes keeps of a job: its key, its signed identity |
| `pod`, `volumes`, `policies` | what a job becomes: pure, compared whole |
| `submitting`, `belongings`, `refusals` | putting it there, and what must be there before |
| `watching`, `sighting` | looking: one list and one watch |
| `states`, `waiting`, `noticing` | Kubernetes' words in ours: closed tables |
| `ending`, `outputs`, `journal` | how jobs ended and what they wrote, kept before their pods go |
| `capacity`, `room` | what nodes have, and what fits on none |
"""

from sampan_hub.backends.kubernetes.backend import KubernetesBackend

__all__ = ["KubernetesBackend"]
