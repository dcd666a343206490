"""`python -I -m sampan_hub.privilege.own VERB SETTINGS`: the same verbs for whoever runs it, who gains nothing by it.

Where everything runs as the account that runs Sampan there is nobody to become, and no root to have settings: they
are the second argument, in the form of root's.
"""

from __future__ import annotations

import sys
from typing import Any

from sampan_hub.privilege.account import look_up_self
from sampan_hub.privilege.answering import answer
from sampan_hub.privilege.errors import RunAsError
from sampan_hub.privilege.policy import parse_policy
from sampan_hub.privilege.requests import parse_request
from sampan_hub.privilege.running import Deadline
from sampan_hub.privilege.verbs import do_as_this_process


def _act(verb: str, settings: str, data: bytes) -> dict[str, Any]:
    deadline = Deadline()
    policy = parse_policy(settings.encode())
    request = parse_request(verb, data)
    account = look_up_self()
    if request.user != account.name:
        raise RunAsError("user", f"Everything runs as {account.name} here: jobs of others cannot.")
    return do_as_this_process(policy, account, request, deadline)


if __name__ == "__main__":
    sys.exit(answer(lambda data: _act(sys.argv[1], sys.argv[2], data)))
