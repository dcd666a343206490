"""`sampan-run-as VERB`: reads one request, becomes the person it names, does it, answers.

Started as root through sudo by the unprivileged service, and by nobody else. See docs/architecture.md.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from sampan_hub.privilege.account import become, look_up, require_person
from sampan_hub.privilege.answering import answer
from sampan_hub.privilege.errors import RunAsError
from sampan_hub.privilege.policy import Policy, load_policy, require_roots
from sampan_hub.privilege.requests import VERBS, parse_request
from sampan_hub.privilege.running import Deadline
from sampan_hub.privilege.verbs import do_as_this_process


def _require_caller(policy: Policy) -> None:
    """Refuses accounts other than the one that root has named; sudo says who called."""
    caller = os.environ.get("SUDO_USER")
    if policy.caller is not None and caller not in (None, policy.caller):
        raise RunAsError("installation", "Only the account that root's settings name as caller may call this.")


def _code_files() -> list[str]:
    """Every file that this process was made of."""
    files = [sys.executable]
    for module in list(sys.modules.values()):
        files += [path for path in (getattr(module, "__file__", None), getattr(module, "__cached__", None)) if path]
    return [path for path in files if os.path.exists(path)]


def _act(verb: str, data: bytes) -> dict[str, Any]:
    deadline = Deadline()
    if os.getuid() != 0 or os.geteuid() != 0:
        raise RunAsError("installation", "sampan-run-as works only as root: call it through sudo.")
    require_roots(_code_files())
    policy = load_policy()
    _require_caller(policy)
    request = parse_request(verb, data)
    account = look_up(request.user)
    require_person(account, policy)
    become(account)
    return do_as_this_process(policy, account, request, deadline)


def main() -> int:
    """The whole of the program; its exit code."""
    if len(sys.argv) != 2 or sys.argv[1] not in VERBS:
        sys.stderr.write(f"usage: sampan-run-as {'|'.join(VERBS)}  (one JSON object on standard input)\n")
        return 2
    verb = sys.argv[1]
    os.closerange(3, 65_536)
    return answer(lambda data: _act(verb, data))


if __name__ == "__main__":
    sys.exit(main())
