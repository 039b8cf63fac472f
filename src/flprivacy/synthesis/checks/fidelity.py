"""How far synthetic scans are from real ones: a Frechet distance, beside its floor.

The distance of two samples of the same distribution is not 0, and the less so the more features and the fewer scans
there are (Chong and Forsyth, arXiv:1911.07023). So features are reduced to few principal components, both sides have as
many scans, and beside the distance stands that of real training scans from the same held-out ones. The features must
know neither: of a network that was trained on the training scans, these scans would be far from held-out ones, and the
floor too high.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from flprivacy.core.array_types import FloatArray, IntArray
from flprivacy.core.errors import AuditError
from flprivacy.core.generator_audit import Fidelity, Measured
from flprivacy.synthesis.checks.resampling import even_samples, measured

_COMPONENTS, _SCANS_PER_COMPONENT = 32, 8
_LEAST_SCANS = 16


def measure_fidelity(
    synthetic: npt.ArrayLike,
    held_out: npt.ArrayLike,
    training: npt.ArrayLike,
    *,
    held_out_patients: IntArray,
    training_patients: IntArray,
    features: str,
    replicates: int = 200,
    seed: int = 0,
) -> Fidelity:
    """Return the Frechet distance of synthetic from held-out scans, and the floor.

    Args:
        synthetic: (synthetic scan, feature) features, every scan a patient of its own.
        held_out: (held-out scan, feature) likewise.
        training: (training scan, feature) of real scans that the features were not learnt from.
        held_out_patients: (held-out scan,) index of each one's patient.
        training_patients: (training scan,) likewise.
        features: what they are, in words.
        replicates: of the bootstrap.
        seed: draws scans, where one side has more, and replicates.

    Raises:
        AuditError: fewer than 16 scans of a kind.
    """
    made, real, trained = (np.asarray(one, dtype=np.float64) for one in (synthetic, held_out, training))
    n = min(len(made), len(real), len(trained))
    if n < _LEAST_SCANS:
        raise AuditError(
            f"{len(made)} synthetic, {len(real)} held-out and {len(trained)} training scans: a distance between "
            f"distributions needs at least {_LEAST_SCANS} of each"
        )
    project = principal_components(np.concatenate([real, trained]), min(_COMPONENTS, max(2, n // _SCANS_PER_COMPONENT)))
    sides = []
    for number, (values, patients) in enumerate(
        ((made, np.arange(len(made))), (real, held_out_patients), (trained, training_patients))
    ):
        rows = even_samples(patients, n, seed + number)
        sides.append((project(values[rows]), patients[rows]))
    (made, singles), (real, theirs), (trained, others) = sides

    def from_held_out(sample: FloatArray, patients: IntArray) -> Measured:
        def distance(some: IntArray, others: IntArray) -> float:
            return frechet_distance(sample[some], real[others])

        return measured(distance, patients, theirs, replicates=replicates, seed=seed)

    return Fidelity(features=features, distance=from_held_out(made, singles), floor=from_held_out(trained, others), n=n)


def frechet_distance(first: FloatArray, second: FloatArray) -> float:
    """Return the squared Frechet distance of the normal distributions with the moments of two (scan, feature) arrays.

    Dowson and Landau, Journal of Multivariate Analysis 1982; Heusel et al., NeurIPS 2017, arXiv:1706.08500.
    """
    one, other = np.atleast_2d(np.cov(first, rowvar=False)), np.atleast_2d(np.cov(second, rowvar=False))
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    # The trace of the root of one @ other is that of the root of this symmetric matrix, which has the same eigenvalues.
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ other @ root), 0.0)).sum()
    apart = np.square(first.mean(axis=0) - second.mean(axis=0)).sum()
    return max(float(apart + np.trace(one) + np.trace(other) - 2.0 * cross), 0.0)


def principal_components(real: FloatArray, kept: int) -> Callable[[FloatArray], FloatArray]:
    """Return the projection of (scan, feature) on the first components of real scans, features of equal variance."""
    mean, spread = real.mean(axis=0), real.std(axis=0)
    scale = np.where(spread > 0.0, spread, 1.0)
    _, _, axes = np.linalg.svd((real - mean) / scale, full_matrices=False)
    chosen = axes[:kept].T

    def project(values: FloatArray) -> FloatArray:
        return np.asarray((values - mean) / scale @ chosen)

    return project
