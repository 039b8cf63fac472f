"""True against predicted age, for the report."""

from collections.abc import Iterable

import numpy as np

from flprivacy.auditing.runs import AttackRuns
from flprivacy.core.audit import AgeScatter


def scatters(attacks: Iterable[AttackRuns]) -> list[AgeScatter]:
    """Return one scatter per attack on years of age: the target's first model, mean over attacker seeds.

    Pairs are sorted by age, so that their order says nothing about whose they are.
    """
    return [_scatter(runs) for runs in attacks if runs.attribute == "age_years"]


def _scatter(runs: AttackRuns) -> AgeScatter:
    truth = runs.held_out.truth
    predicted = runs.scores[0, :, :, 0].astype(np.float64).mean(axis=0)
    order = np.lexsort((predicted, truth))
    return AgeScatter(
        target=runs.target,
        access=runs.access,
        fraction=runs.fraction,
        truth_years=tuple(truth[order].tolist()),
        predicted_years=tuple(predicted[order].tolist()),
    )
