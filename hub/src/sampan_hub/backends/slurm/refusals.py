"""What sbatch says when it refuses a job, with what one can do about it. Pure."""

from __future__ import annotations

from sampan_hub.jobs.model import Reason

_ADVICE: tuple[tuple[str, str, str], ...] = (
    ("invalid account", "slurm-account", "Choose another project, or ask an administrator for an account in Slurm."),
    ("invalid partition", "slurm-partition", "An administrator corrects the partition in Sampan's settings."),
    ("user's group not permitted", "slurm-partition", "Choose another size, or ask an administrator for access."),
    ("invalid qos", "slurm-qos", "Ask an administrator for this quality of service, or choose another size."),
    ("invalid reservation", "slurm-reservation", "An administrator corrects the reservation in Sampan's settings."),
    ("reservation", "slurm-reservation", "Ask an administrator about the reservation."),
    (
        "accounting/qos policy",
        "slurm-limit",
        "Stop what you do not need, choose a smaller size, or ask an administrator.",
    ),
    ("time limit", "slurm-walltime", "An administrator sets a shorter walltime, or raises the partition's limit."),
    ("invalid feature", "slurm-constraint", "An administrator corrects the constraint in Sampan's settings."),
    ("memory specification", "does-not-fit", "Choose a smaller size."),
    ("node configuration is not available", "does-not-fit", "Choose a smaller size."),
    ("cpu count", "does-not-fit", "Choose a smaller size."),
    ("more processors requested", "does-not-fit", "Choose a smaller size."),
    ("generic resource", "does-not-fit", "Choose another size, or ask an administrator about GPUs."),
    ("job array", "slurm-array", "Ask for fewer workers at once."),
)


def explain_refusal(code: str, text: str) -> Reason:
    """The reason for a job's end, from what the submitting program answered."""
    if code != "refused":
        return Reason(f"slurm-{code.replace('_', '-')}", text)
    for phrase, ours, advice in _ADVICE:
        if phrase in text.lower():
            return Reason(ours, f"{text.rstrip('.')}. {advice}")
    return Reason("slurm-refused", text)
