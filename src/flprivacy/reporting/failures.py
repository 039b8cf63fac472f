"""Targets without numbers, in words."""

from flprivacy.core.audit import Audit

_STEPS = {"train_target": "training", "pull_target": "fetching", "attack_attributes": "the attack on it"}


def failure_lines(audit: Audit) -> list[str]:
    """Return a sentence for every target that no number speaks of: which, why, and what helps."""
    lines = []
    for failure in audit.failures:
        remedy = "; this may pass: try again" if failure.passing else ""
        step = _STEPS.get(failure.step, failure.step)
        lines.append(f"{failure.target} was not audited, because {step} failed: {failure.reason}{remedy}")
    return lines
