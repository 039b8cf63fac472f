"""What has no numbers, and why, in sentences that the page and the terminal share."""

from flprivacy.core.audit import GENERATOR, Audit
from flprivacy.reporting import words

_NAMED = 4  # of more the first line says how many
_STEPS = {
    "train_target": "training",
    "train_generator": "training",
    "synthesize_cohort": "making scans",
    "evaluate_generator": "checking it",
    "attack_target": "the attack on it",
    "attack_membership": "the attack on it",
    "pull_target": "fetching it",  # of earlier versions, as the next
    "attack_attributes": "the attack on it",
}


def in_short(audit: Audit) -> list[str]:
    """Return, for the audit's first line, what could not be audited; nothing where all could."""
    names = [failure.target for failure in audit.failures if failure.role == "target"]
    named = [words.listed(names)] if 0 < len(names) <= _NAMED else [f"{len(names)} models"] if names else []
    named += ["the generator"] if any(failure.role == GENERATOR for failure in audit.failures) else []
    return [f"Not audited, as something failed: {words.listed(named)}."] if named else []


def lines(audit: Audit) -> list[str]:
    """Return a sentence for every target, baseline or generator without numbers: which, why, and what helps."""
    said = []
    for failure in audit.failures:
        remedy = "; the failure may be temporary: try again" if failure.transient else ""
        step = _STEPS.get(failure.step, failure.step)
        what = f"membership of {failure.target}" if failure.step == "attack_membership" else failure.target
        if failure.role == GENERATOR:
            said.append(
                f"the generator was not audited, because {step} failed: {failure.reason}{remedy}; nothing is said of "
                "its scans"
            )
        elif failure.role == "baseline":
            said.append(
                f"baseline {failure.target} is missing, because {step} failed: {failure.reason}{remedy}; no attack "
                "that it could explain is called a leak"
            )
        else:
            said.append(f"{what} was not audited, because {step} failed: {failure.reason}{remedy}")
    return said
