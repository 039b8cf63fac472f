"""Was a scan trained on? Attacks on a generator, from its samples and, as auditors may, from its discriminator.

- *nearest sample*: minus the distance to the nearest synthetic scan (GAN-Leaks, Chen et al., CCS 2020,
  arXiv:1909.03935).
- *calibrated*: the same relative to the distance to the nearest real scan of another patient, whichever side it is on,
  in place of a reference generator's sample: an ordinary body is near to many, trained on or not.
- *Monte Carlo*: the share of synthetic scans that are no further than half of all scans are from their nearest one
  (Hilprecht et al., PoPETs 2019, arXiv:1906.03006).
- *discriminator*: what the discriminator says of the scan under its own conditions (LOGAN, Hayes et al., PoPETs 2019,
  arXiv:1705.07663). It never leaves the auditors' part of a generator's folder: this is what whoever got it could do.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from flprivacy.auditing.config import MembershipRule
from flprivacy.auditing.membership.targets import Claim, audit_targets
from flprivacy.core.array_types import BoolArray, FloatArray
from flprivacy.core.membership import MembershipFinding
from flprivacy.core.membership_scores import LINEAGE, MembershipScores

GENERATOR = "generator"
NEAREST, CALIBRATED, MONTE_CARLO, DISCRIMINATOR = "nearest sample", "calibrated", "Monte Carlo", "discriminator"
_TINY = 1e-12


def scores_by_distance(
    to_synthetic: npt.NDArray[np.floating], to_others: npt.NDArray[np.floating]
) -> dict[str, FloatArray]:
    """Return attack -> (real scan,) scores, higher for likelier trained on.

    Args:
        to_synthetic: (real scan, synthetic scan) distances.
        to_others: (real scan,) distance to the nearest real scan of another patient.
    """
    nearest = to_synthetic.min(axis=1).astype(np.float64)
    radius = float(np.median(nearest))
    inside = (to_synthetic <= radius).mean(axis=1)
    # Scans with none inside differ by how far the nearest is, by less than one synthetic scan counts.
    order = np.argsort(np.argsort(-nearest, kind="stable"), kind="stable") / len(nearest)
    return {
        NEAREST: -nearest,
        CALIBRATED: np.log(np.maximum(to_others, _TINY)) - np.log(np.maximum(nearest, _TINY)),
        MONTE_CARLO: inside + order / to_synthetic.shape[1],
    }


def generator_members(
    scores: Mapping[str, FloatArray],
    *,
    members: BoolArray,
    scan_ids: npt.ArrayLike,
    patient_ids: npt.ArrayLike,
    sites: npt.ArrayLike,
    classes: npt.ArrayLike,
    digest: str,
    unusual: FloatArray,
) -> MembershipScores:
    """Return the table of the attacks on a generator, which names patients and stays with the auditors.

    Args:
        scores: attack -> (real scan,) scores.
        members: (real scan,) whether it was trained on.
        scan_ids: (real scan,) pseudonyms.
        patient_ids: (real scan,) pseudonyms.
        sites: (real scan,) names.
        classes: (real scan,) names of the disease classes.
        digest: of the generator.
        unusual: (real scan,) distance to the nearest real scan of another patient. Whoever is like nobody else is
            the most vulnerable.
    """
    return MembershipScores(
        target=GENERATOR,
        target_digest=digest,
        role="target",
        members_from=LINEAGE,
        references=1,  # the other patients stand for one: these attacks do not lack any
        scan_ids=np.asarray(scan_ids).astype(np.str_),
        patient_ids=np.asarray(patient_ids).astype(np.str_),
        sites=np.asarray(sites).astype(np.str_),
        classes=np.asarray(classes).astype(np.str_),
        models=np.full(len(members), GENERATOR),
        members=members,
        signals=scores[NEAREST],
        scores=dict(scores),
        vulnerability=unusual,
    )


def audit_generator_members(
    table: MembershipScores, *, rule: MembershipRule | None, confidence: float, claim: Claim | None = None
) -> tuple[MembershipFinding, ...]:
    """Return what attacks find of the scans and of the patients that a generator was trained on.

    Nobody is named.

    Args:
        table: of :func:`generator_members`.
        rule: what is a leak; None: there are numbers and no verdicts.
        confidence: of intervals and verdicts.
        claim: what its private training promises.
    """
    found, _ = audit_targets([table], {GENERATOR: claim} if claim else {}, rule=rule, confidence=confidence)
    return tuple(replace(one, references=0) for one in found)
