"""Confusion matrices of attacks, for the report."""

from collections.abc import Iterable

from flprivacy.auditing.measures import predicted_classes
from flprivacy.auditing.runs import AttackRuns
from flprivacy.core.audit import ConfusionMatrix
from flprivacy.core.metrics import confusion_matrices


def confusions(attacks: Iterable[AttackRuns]) -> list[ConfusionMatrix]:
    """Return the confusion matrix of every attack on classes: scans, mean over attacker seeds and models."""
    return [_confusion(runs) for runs in attacks if runs.held_out.class_names]


def _confusion(runs: AttackRuns) -> ConfusionMatrix:
    names = runs.held_out.class_names
    counts = confusion_matrices(runs.held_out.truth, predicted_classes(runs), len(names)).mean(axis=(0, 1))
    return ConfusionMatrix(
        target=runs.target,
        attribute=runs.attribute,
        access=runs.access,
        fraction=runs.fraction,
        class_names=names,
        counts=tuple(tuple(row) for row in counts.tolist()),
    )
