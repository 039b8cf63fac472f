"""What the test for copies would have found: copies are planted among the synthetic scans, and the test repeated.

Each time another choice of training patients is taken for the true one, and copies of its patients are planted: how the
actual choice happens to lie to the actual synthetic scans is luck, which the next generator need not have. Of the four
statistics the one that sees few copies is looked at, and must be as sure as one of four tests; all together find more.
"""

import numpy as np
import numpy.typing as npt

from flprivacy.synthesis.checks.neighbours import Neighbours

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)  # of planted copies
_PLANTINGS = 60
_TINY = 1e-12


def copy_weights(scans: Neighbours, n_patients: int) -> FloatArray:
    """Return (patient,) how clearly some scan is a copy of each patient, and of nobody else, from 0 to 1.

    The clearest counts, not their number, so that one patient returned a thousand times is one patient.
    """
    weights = np.zeros(n_patients)
    np.maximum.at(weights, scans.patients[:, 0], np.square(scans.closeness()))
    return weights


def found_rates(
    synthetic: Neighbours, planted: Neighbours, sources: IntArray, choices: BoolArray, *, level: float, seed: int
) -> dict[str, float]:
    """Return share of copies -> how often so many, planted among the synthetic scans, are found.

    Args:
        synthetic: nearest patients of the synthetic scans.
        planted: nearest patients of copies.
        sources: (copy,) the patient of whom each is one.
        choices: (choice, patient) who was trained on.
        level: that the p-value must reach.
        seed: draws what is planted.
    """
    rng = np.random.default_rng([seed, 1])
    n_patients = choices.shape[1]
    clarity, known = np.square(planted.closeness()), planted.patients[:, 0] == sources
    nearest, own = synthetic.patients[:, 0], np.square(synthetic.closeness())
    scored, rates = choices.astype(np.float64), {}
    for share in SHARES:
        copies = max(1, round(share * len(synthetic)))
        truths = rng.integers(len(choices), size=_PLANTINGS)
        weights = np.zeros((_PLANTINGS, n_patients))
        for number, truth in enumerate(truths):
            kept = rng.permutation(len(synthetic))[copies:]
            drawn = rng.integers(len(planted), size=copies)
            patients = rng.choice(np.flatnonzero(choices[truth]), copies)
            # A copy that is taken for another patient's points at anybody.
            patients = np.where(known[drawn], patients, rng.integers(n_patients, size=copies))
            np.maximum.at(weights[number], nearest[kept], own[kept])
            np.maximum.at(weights[number], patients, clarity[drawn])
        sums = scored @ weights.T
        p = (sums >= sums[truths, np.arange(_PLANTINGS)] - _TINY).mean(axis=0)
        rates[f"{share:g}"] = float((p <= level).mean())
    return rates
