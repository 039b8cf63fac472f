"""How much trainings of one recipe differ, by chance, in what attacks on membership find.

The reference models show it: each is attacked by the others as if it were the target. Areas under the curve are taken
to the scale of d', the distance of two normal distributions of equal spread with that area, on which the spread hardly
depends on the area, and from which it is carried over to true positive rates. What is measured holds chance in the
draw of patients, too, so that it is rather too wide.

Where there are fewer references than :data:`~flprivacy.core.membership.LEAST_REFERENCES`, nothing shows it, and
:data:`ASSUMED` counts. On the demo's central target 16 references scatter by 0.12 (loss) to 0.20 (LiRA).
"""

from collections.abc import Iterable

import numpy as np
from scipy.special import ndtri

from flprivacy.auditing.membership.rates import Sample, auc
from flprivacy.auditing.membership.units import samples_of
from flprivacy.auditing.uncertainty import Component
from flprivacy.core.membership import AUC, MembershipFinding
from flprivacy.core.membership_scores import MembershipScores

ASSUMED = 0.25
MOST_REFERENCES = 32  # that are attacked: the effort grows with the square
_KNOWN = 1e6  # degrees of freedom of what is assumed
_SQRT2 = float(np.sqrt(2.0))


def spread_of(tables: Iterable[MembershipScores]) -> dict[str, float]:
    """Return attack -> standard deviation, in d', of its area under the curve over trainings of one recipe.

    Args:
        tables: of attacks on models of that recipe. Those of fewer than 2 patients of either kind tell nothing.
    """
    found: dict[str, list[float]] = {}
    for table in tables:
        if min(len(np.unique(table.patient_ids[some])) for some in (table.members, ~table.members)) < 2:
            continue
        for attack, sample in samples_of(table).items():
            found.setdefault(attack, []).append(_distance(auc(sample, confidence=0.95).value, sample))
    return {attack: float(np.std(values, ddof=1)) for attack, values in found.items() if len(values) > 1}


def chance_in_training(
    attack: str, metric: str, middle: float, patients: int, findings: Iterable[MembershipFinding]
) -> tuple[Component, int]:
    """Return the variance that two models of one recipe differ by in a metric, and how many references tell it.

    Args:
        attack: name of the attack.
        metric: ``auc``, or a true positive rate.
        middle: of its values, near which the variance is asked for.
        patients: by which the value is known: it is taken for no closer to 0 or 1 than half of one.
        findings: of both models, with what their references show.
    """
    told = [(one.spread[attack], one.references) for one in findings if attack in one.spread]
    spread, references = max(told, default=(ASSUMED, 0))
    margin = 0.5 / patients
    z = float(ndtri(min(max(middle, margin), 1.0 - margin)))
    # An area is Phi(d' / sqrt 2), a true positive rate Phi(d' - the false positive rate's quantile).
    slope = float(np.exp(-z * z / 2.0) / np.sqrt(2.0 * np.pi)) / (_SQRT2 if metric == AUC else 1.0)
    variance = 2.0 * (slope * spread) ** 2
    degrees = min(references, MOST_REFERENCES) - 1.0 if references else _KNOWN
    return Component(variance=variance, square=variance, degrees=degrees), references


def _distance(area: float, sample: Sample) -> float:
    margin = 0.5 / min(len(sample.members), len(sample.non_members))
    return _SQRT2 * float(ndtri(min(max(area, margin), 1.0 - margin)))
