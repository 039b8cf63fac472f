"""Which hospitals took part, asked of references that were trained on halves of the hospitals: their mean signals.

After subject membership inference (Suri et al., arXiv:2206.03317), whose subjects are hospitals here: the attacker may
hold what a hospital contributed, or other scans of it alone.
"""

from collections.abc import Iterable

import numpy as np

from flprivacy.attacks.membership.references import AGAIN, check_reference
from flprivacy.attacks.membership.signals import membership_signal
from flprivacy.core.array_types import FloatArray, IntArray
from flprivacy.core.cohort import TEST, TRAIN, Cohort
from flprivacy.core.errors import AttackError
from flprivacy.core.reference_scores import ReferenceScores, SiteSignals
from flprivacy.core.vocabulary import SITES


def site_signals(target: str, cohort: Cohort, references: Iterable[ReferenceScores], *, recipe: str) -> SiteSignals:
    """Return the mean signals of every hospital that has training scans, by each reference of a target.

    References are gone through once, one at a time.

    Args:
        target: its name.
        cohort: that the references were trained on.
        references: on halves of the hospitals, in order of their index: pairs that follow each other.
        recipe: digest of how the target was trained.

    Raises:
        AttackError: references of another recipe or cohort, of patients, or not in pairs.
    """
    of_scans, labels = (cohort.manifest[name].to_numpy(dtype=np.int64) for name in ("site_id", "label"))
    sites = np.unique(of_scans[cohort.rows(TRAIN)])
    means = [_weights(cohort, of_scans, sites, cohort.rows(split)) for split in (TRAIN, TEST)]
    took_part, found = [], []
    for place, one in enumerate(references):
        _check_fit(target, cohort, one, place, recipe)
        took_part.append(np.isin(sites, of_scans[one.trained_on[0]]))
        signals = membership_signal(one.probabilities[0], labels, kind="probabilities")
        found.append([weights @ signals for weights in means])
    contributed, held_out = np.moveaxis(np.array(found), 1, 0)
    names = tuple(cohort.meta.site_names[site] for site in sites)
    return SiteSignals(
        target=target, sites=names, took_part=np.array(took_part), contributed=contributed, held_out=held_out
    )


def _weights(cohort: Cohort, of_scans: IntArray, sites: IntArray, rows: IntArray) -> FloatArray:
    """Return (site, scan) weights of means over patients of means over their scans, of some rows; NaN without any."""
    found = np.zeros((len(sites), len(of_scans)))
    patients = cohort.manifest["patient_id"].to_numpy()
    for weights, site in zip(found, sites, strict=True):
        own = rows[of_scans[rows] == site]
        _, of_patient, scans = np.unique(patients[own], return_inverse=True, return_counts=True)
        weights[own] = 1.0 / (len(scans) * scans[of_patient])
        weights[:] = weights if len(own) else np.nan
    return found


def _check_fit(target: str, cohort: Cohort, one: ReferenceScores, place: int, recipe: str) -> None:
    where = f"target {target!r}: site reference {one.index}"
    if one.drawn != SITES or len(one.models) != 1:
        raise AttackError(f"{where} was not trained as one model on half of the sites; {AGAIN}")
    check_reference(one, cohort, recipe, where)
    if one.index != place:
        raise AttackError(f"{where} stands where reference {place} belongs; give all of them, in order")
