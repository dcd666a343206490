"""The one way this program fails: a code for the caller, a sentence for people."""

from __future__ import annotations

from typing import Literal

Code = Literal[
    "request",  # not a well-formed request: nothing was touched
    "installation",  # the program, its settings or its caller are not as root must have arranged them
    "user",  # no such person, or one for whom it does nothing
    "home",  # the person's folder is missing, or not theirs to write
    "home_full",  # no room in it
    "stage",  # the job's folder is not what was left there
    "busy",  # another call works on the same job
    "refused",  # Slurm looked at it and will never run it
    "unreachable",  # Slurm did not answer: what was asked may or may not have arrived
    "failed",  # a program or the system failed otherwise
]


class RunAsError(Exception):
    """Why it was not done. `text` is one sentence; of what the caller sent it repeats the name of a user at most."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
