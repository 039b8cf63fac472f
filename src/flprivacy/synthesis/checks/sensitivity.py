"""The null distribution of every test of copying, and what the test would have found of copies that are planted.

For the latter the test is repeated. Each time another choice of training patients is taken for the true one, and copies
of its patients are planted: how the actual choice happens to lie to the actual synthetic scans is chance, which differs
from one generator to the next. Of the four statistics the one that sees few copies is looked at, and must be as sure as
one of four tests; all together find more.
"""

import numpy as np

from flprivacy.core.array_types import BoolArray, FloatArray, IntArray
from flprivacy.synthesis.checks.neighbours import Neighbours

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)  # of planted copies
_PLANTINGS = 60
_TINY = 1e-12


def choices(training: BoolArray, strata: IntArray, *, permutations: int, seed: int) -> BoolArray:
    """Return (1 + permutation, patient) who was trained on: first as it was, then drawn again within strata.

    Which patients of a hospital were held out was chance. A generator that knows nothing of that choice cannot be
    nearer to those that were trained on than to as many others, so every statistic is compared with itself under other
    choices, patients being moved as a whole and within their hospital. That is exact whatever the generator returns and
    whatever distance is used, as long as neither looked at the choice (Pesarin and Salmaso, Permutation Tests, 2010).

    Args:
        training: (patient,) who was trained on.
        strata: (patient,) index of each one's hospital.
        permutations: choices to draw.
        seed: draws them.
    """
    rng = np.random.default_rng(seed)
    drawn = np.tile(training, (permutations + 1, 1))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        drawn[1:, members] = rng.permuted(drawn[1:, members], axis=1)
    return drawn


def p_values(statistics: FloatArray) -> FloatArray:
    """Return the share of (choice, statistic) that is no larger than each: small values are the suspicious ones."""
    n = len(statistics)
    columns = [np.searchsorted(np.sort(one), one, side="right") / n for one in statistics.T]
    return np.stack(columns, axis=1)


def p_of_all(of_each: FloatArray) -> float:
    """Return the p-value of the smallest of several p-values, from (choice, test) of which row 0 is what was found.

    It allows for their number, and for how they hang together, exactly (Westfall and Young, 1993).
    """
    smallest = of_each.min(axis=1)
    return float((smallest <= smallest[0]).mean())


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
