"""Lungs and outline, which no generator is conditioned on: are synthetic bodies shaped as real ones are?

Soft tissue is what is denser than -500 HU. A voxel is inside the body if there is soft tissue in its slice to the
left, to the right, in front and behind; what is air there is lung (or airway, or bowel).
"""

from collections.abc import Mapping

import numpy as np

from flprivacy.core.array_types import BoolArray, FloatArray, IntArray, Volumes
from flprivacy.core.generator_audit import AnatomyCheck
from flprivacy.synthesis.checks.resampling import even_samples, measured

LUNG, OUTLINE, WIDTH = "lung volume fraction", "body outline", "body width"
UNITS = {LUNG: "of the body", OUTLINE: "of the slice", WIDTH: "of the slice's width"}
_TISSUE_HU = -500.0
_REPLICATES = 200


def measure_anatomy(volumes: Volumes, window_hu: tuple[float, float]) -> dict[str, FloatArray]:
    """Return property -> (scan,) values of uint8 (scan, depth, height, width), for each of UNITS.

    The lungs' share of the body's volume; the share of the slice that the body fills, mean over slices; and the share
    of the slice's width that it spans in the middle slice.

    Args:
        volumes: the scans.
        window_hu: intensities that 0 and 255 stand for.
    """
    low, high = window_hu
    tissue = volumes > 255.0 * (_TISSUE_HU - low) / (high - low)
    inside = _between(tissue, axis=3) & _between(tissue, axis=2)
    size = inside.sum(axis=(1, 2, 3))
    middle = inside[:, inside.shape[1] // 2].any(axis=1)
    return {
        LUNG: (inside & ~tissue).sum(axis=(1, 2, 3)) / np.maximum(size, 1),
        OUTLINE: size / np.prod(inside.shape[1:]),
        WIDTH: middle.sum(axis=1) / middle.shape[1],
    }


def _between(tissue: BoolArray, axis: int) -> BoolArray:
    """Return where there is tissue on both sides along an axis, or the voxel is tissue itself."""
    before = np.maximum.accumulate(tissue, axis=axis)
    after = np.flip(np.maximum.accumulate(np.flip(tissue, axis), axis=axis), axis)
    both: BoolArray = before & after
    return both


def compare_anatomy(
    synthetic: Mapping[str, FloatArray],
    held_out: Mapping[str, FloatArray],
    training: Mapping[str, FloatArray],
    *,
    held_out_patients: IntArray,
    training_patients: IntArray,
    seed: int = 0,
) -> tuple[AnatomyCheck, ...]:
    """Set the distribution of each property among synthetic scans against that among held-out ones, and the floor.

    The Wasserstein distance is in standard deviations of the held-out scans, between as many scans on each side.

    Args:
        synthetic: property -> (synthetic scan,) values.
        held_out: property -> (held-out scan,) values.
        training: property -> (training scan,) values, for the floor.
        held_out_patients: (held-out scan,) index of each one's patient.
        training_patients: (training scan,) likewise.
        seed: draws scans, where one side has more, and the bootstrap's replicates.
    """
    found = []
    for name, unit in UNITS.items():
        made, real, trained = synthetic[name], held_out[name], training[name]
        n = min(len(made), len(real), len(trained))
        singles = np.arange(len(made))
        theirs = even_samples(held_out_patients, n, seed)
        scale = float(real.std()) or 1.0
        distances = []
        for values, patients in ((made, singles), (trained, training_patients)):
            rows = even_samples(patients, n, seed + 1)

            def distance(
                some: IntArray, others: IntArray, sample: FloatArray = values[rows], other: FloatArray = real[theirs]
            ) -> float:
                return wasserstein(sample[some], other[others]) / scale  # noqa: B023 - called before the next name

            distances.append(
                measured(distance, patients[rows], held_out_patients[theirs], replicates=_REPLICATES, seed=seed)
            )
        found.append(
            AnatomyCheck(
                name=name,
                unit=unit,
                distance=distances[0],
                floor=distances[1],
                mean_synthetic=float(made.mean()),
                mean_real=float(real.mean()),
            )
        )
    return tuple(found)


def wasserstein(first: FloatArray, second: FloatArray) -> float:
    """Return the Wasserstein distance of two samples of numbers: the area between their distribution functions."""
    places = np.sort(np.concatenate([first, second]))
    shares = [np.searchsorted(np.sort(one), places[:-1], side="right") / len(one) for one in (first, second)]
    return float(np.abs(shares[0] - shares[1]) @ np.diff(places))
