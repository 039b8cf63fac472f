"""Several signals of one membership, together: the attacker who holds the target and the generator of its scans."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from flprivacy.attacks.membership.target import halves_of_patients
from flprivacy.core.array_types import BoolArray, FloatArray, StrArray
from flprivacy.core.errors import AttackError
from flprivacy.core.membership import TARGET_AND_GENERATOR
from flprivacy.core.membership_scores import MembershipScores

_OF_TARGET = ("RMIA", "population")  # the first that a target's table has stands for it: chosen before looking


def attack_with_generator(found: MembershipScores, generator: MembershipScores, attack: str) -> MembershipScores:
    """Score a target's scans by what the target and its generator say of them together (cf. arXiv:2404.17399).

    Args:
        found: the target's table, with the scores by references if it has any.
        generator: scores of the same cohort's scans by attacks on the generator.
        attack: which of these speaks for the generator.

    Returns:
        The table with one more attack.

    Raises:
        AttackError: the generator's table lacks a scan, or there are too few patients.
    """
    place = {scan: number for number, scan in enumerate(generator.scan_ids.tolist())}
    lacking = sum(scan not in place for scan in found.scan_ids.tolist())
    if lacking:
        raise AttackError(
            f"target {found.target!r}: {lacking} of its scans are not among those that its generator was attacked "
            "with; check the generator again (evaluate_generator)"
        )
    of_generator = generator.scores[attack][[place[scan] for scan in found.scan_ids.tolist()]]
    own = next(found.scores[name] for name in _OF_TARGET if name in found.scores)
    together = combined_scores([own, of_generator], found.members, found.patient_ids)
    return replace(found, scores=found.scores | {TARGET_AND_GENERATOR: together})


def combined_scores(signals: Sequence[npt.ArrayLike], members: BoolArray, patients: StrArray) -> FloatArray:
    """Combine signals of scans by a rule that is fixed before anything is seen.

    Each signal becomes the normal quantile of its rank among the non-members of the other half of the patients, and
    counts by how far members are above non-members there: not at all where they are not above. Equal weights would let
    a signal that tells nothing hide one that does. So the attacker is one who knows of half of the patients whether
    they were trained on, and asks about the other half; no scan takes part in weighing its own signals.

    Args:
        signals: (scan,) each, higher for likelier a member, on any scale.
        members: (scan,) bool.
        patients: (scan,) pseudonyms.

    Returns:
        (scan,) scores, of mean about 0 and variance about 1 for non-members.

    Raises:
        AttackError: one half of the patients has no non-member.
    """
    half, values = halves_of_patients(patients), np.stack([np.asarray(one, np.float64) for one in signals])
    scores = np.empty(len(half))
    for own in (0, 1):
        mine, others = half == own, half != own
        known = values[:, others & ~members]
        if not known.size:
            raise AttackError(f"{len(np.unique(patients))} patient(s) are too few to weigh signals by; give more")
        inside, outside = _quantiles(values[:, others & members], known), _quantiles(known, known)
        scores[mine] = _weights(inside, outside) @ _quantiles(values[:, mine], known)
    return scores


def _quantiles(values: FloatArray, among: FloatArray) -> FloatArray:
    """Return (signal, scan) normal quantiles of the ranks of values among (signal, other scan), ties counting half."""
    found = np.empty(values.shape)
    for row, asked, others in zip(found, values, np.sort(among, axis=1), strict=True):
        below, at_most = (np.searchsorted(others, asked, side=side) for side in ("left", "right"))
        row[:] = ndtri(((below + at_most) / 2.0 + 0.5) / (len(others) + 1.0))
    return found


def _weights(inside: FloatArray, outside: FloatArray) -> FloatArray:
    """Return (signal,) weights of unit length, from (signal, member) and (signal, non-member) quantiles."""
    apart = inside.mean(axis=1) - outside.mean(axis=1) if inside.shape[1] else np.zeros(len(inside))
    above = np.maximum(apart, 0.0)
    weights: FloatArray = above if above.any() else np.ones(len(above))
    return weights / np.linalg.norm(weights)
