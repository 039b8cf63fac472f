"""Attackers without any model: what the scans themselves, or the mere frequencies of classes, already tell.

The pixels attacker computes what a careful one would compute first. A scan's appearance at low resolution tells
habitus, positioning and anatomy; its intensities tell density and calibration; its spectrum and gradients tell
reconstruction kernel, dose and slice thickness. All are cheap, fixed and the same for every cohort.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from flprivacy.attacks.answering import Answer
from flprivacy.attacks.cache import Arrays
from flprivacy.attacks.config import AttackConfig
from flprivacy.attacks.frozen import FrozenAttack
from flprivacy.attacks.results import Finished, Source, tables
from flprivacy.attacks.scenario import Exposure, Scenario, prepare
from flprivacy.core.array_types import Float32Array
from flprivacy.core.cohort import Cohort
from flprivacy.core.digests import digest_json
from flprivacy.core.scores import ScoreTable
from flprivacy.core.tensorflow_environment import available_cores
from flprivacy.core.vocabulary import PROTOCOLS

Columns = npt.NDArray[np.float64]  # (scan, column)

PIXELS, MAJORITY = "pixels", "majority"
ACCESS, MODEL, ROLE = "none", "model", "baseline"
_CELLS = (4, 8, 8)  # of the low-resolution volume
_BINS = 32  # of the histogram
_RINGS = 16  # of the spectrum
_DARK, _SOFT = 0.15, 0.45  # air and lung below, soft tissue above, in the window's units
_AT_ONCE = 4  # scans: they and what is computed from them stay in the processor's cache
_FLOOR = 1e-6  # added before logarithms: below what 8 bits can show
DIGEST = digest_json(["pixels", 1, list(_CELLS), _BINS, _RINGS, _DARK, _SOFT])


def attack_pixels(
    config: AttackConfig, cohort: Cohort, *, protocol: str, work: Path, results: Path | None = None
) -> tuple[ScoreTable, pd.DataFrame]:
    """Attack the scans themselves: fixed image features (:func:`pixel_forward`), then the same learners.

    Args and returns as for :func:`flprivacy.attacks.attribute.attack_attributes`; the table's target is ``pixels``.
    ``results`` is the folder of finished attacks; below ``work`` if None.

    Raises:
        AttackError: an attribute cannot be learnt or scored.
    """
    scenario = prepare(config, cohort, protocol=protocol)
    done = pixel_attack(scenario, work=work, results=results).run([ACCESS])
    notes = {"protocol": protocol, "views": str(config.views), "features": "fixed image statistics, no model"}
    return tables(scenario, done, target=PIXELS, digest="", role=ROLE, notes=notes)


def pixel_attack(scenario: Scenario, *, work: Path, results: Path | None) -> FrozenAttack:
    """Prepare the attack on the scans themselves; finished attacks are in ``results``, or below ``work`` if None."""
    source = Source(model=MODEL, digest=DIGEST, forward=lambda: pixel_forward)
    return FrozenAttack(scenario, [source], target=PIXELS, work=work, results=results)


def majority(config: AttackConfig, cohort: Cohort) -> ScoreTable:
    """Guess from the exposed labels alone: class frequencies as scores, the median for years.

    The guess with the highest score is the commonest class of the exposed sample.

    Raises:
        AttackError: an attribute cannot be learnt or scored.
    """
    scenario = prepare(config, cohort, protocol=PROTOCOLS[0])  # looks at no image
    done = [_guess(scenario, exposure) for exposure in scenario.exposures]
    return tables(scenario, done, target=MAJORITY, digest="", role=ROLE, notes={"features": "none"})[0]


def _guess(scenario: Scenario, exposure: Exposure) -> Finished:
    answers = {}
    for one in scenario.labels:
        values = one.values[exposure.rows]
        known = values[~np.isnan(values)]
        counts = np.bincount(known.astype(np.int64), minlength=one.head.width)
        guess = [np.median(known)] if one.attribute.is_regression else counts / len(known)
        scores = np.tile(np.asarray(guess, np.float32), (len(scenario.scored), 1))
        answers[one.name] = Answer(scores=scores, left_out=scores[:0], evidence=scores[:0], learners=("majority",))
    curves = np.empty((len(scenario.labels), 0))
    return Finished(model=MODEL, access=ACCESS, exposure=exposure, answers=answers, curves=curves)


def pixel_forward(inputs: Float32Array) -> Arrays:
    """Return ``features`` (scan, k) of network inputs (scan, depth, height, width, 1), by all cores."""
    volumes = inputs[..., 0]
    with ThreadPoolExecutor(available_cores()) as pool:
        parts = pool.map(_statistics, [volumes[i : i + _AT_ONCE] for i in range(0, len(volumes), _AT_ONCE)])
        return {"features": np.concatenate(list(parts)).astype(np.float32)}


def _statistics(volumes: Float32Array) -> Columns:
    parts = (block_means(volumes, _CELLS), histogram(volumes, _BINS), textures(volumes), spectrum(volumes, _RINGS))
    return np.concatenate(parts, axis=1)


def block_means(volumes: Float32Array, cells: tuple[int, int, int]) -> Columns:
    """Return (scan, cell) means over a grid of ``cells`` per axis; cells differ in size by at most a voxel."""
    means = volumes.astype(np.float64)
    for axis, (size, count) in enumerate(zip(volumes.shape[1:], cells, strict=True), start=1):
        edges = np.linspace(0, size, min(count, size) + 1).round().astype(np.int64)
        sums = np.add.reduceat(means, edges[:-1], axis=axis)
        shape = [1] * means.ndim
        shape[axis] = -1
        means = sums / np.diff(edges).reshape(shape)
    return means.reshape(len(volumes), -1)


def histogram(volumes: Float32Array, bins: int) -> Columns:
    """Return (scan, bin) logarithms of the share of voxels in equal bins over [0, 1]."""
    index = np.minimum((volumes.reshape(len(volumes), -1) * bins).astype(np.int64), bins - 1)
    counts = np.stack([np.bincount(row, minlength=bins) for row in index])
    shares: Columns = counts / index.shape[1]
    return np.log(shares + 1e-4)


def textures(volumes: Float32Array) -> Columns:
    """Return (scan, energy): logarithms of mean and mean square of first and second differences along each axis, in air
    or lung, in soft tissue and everywhere; and the level and noise of the darkest quarter of the scan.
    """
    everywhere = np.ones_like(volumes)
    masks = ((volumes < _DARK).astype(np.float32), (volumes > _SOFT).astype(np.float32), everywhere)
    columns = []
    for axis in (1, 2, 3):
        for order in (1, 2):
            steps = np.abs(np.diff(volumes, n=order, axis=axis))
            here = tuple(slice(None, -order) if one == axis else slice(None) for one in range(4))
            columns += [mean for mask in masks for mean in _means(steps, mask[here])]
    dark = volumes <= np.quantile(volumes, 0.25, axis=(1, 2, 3), keepdims=True)
    columns += _means(volumes, dark.astype(np.float32))
    energies: Columns = np.stack(columns, axis=1)
    return np.log(energies + _FLOOR)


def _means(values: Float32Array, mask: Float32Array) -> list[Columns]:
    """Return the mean and the mean square, both (scan,), of ``values`` where ``mask`` is 1; 0 where it is nowhere."""
    flat, inside = values.reshape(len(values), -1), mask.reshape(len(mask), -1)
    count = np.maximum(inside.sum(axis=1, dtype=np.float64), 1)
    return [_dots(flat, inside) / count, _dots(flat * flat, inside) / count]


def _dots(one: Float32Array, other: Float32Array) -> Columns:
    """Return (scan,) sums of products."""
    return np.array([np.dot(a, b) for a, b in zip(one, other, strict=True)], dtype=np.float64)


def spectrum(volumes: Float32Array, rings: int) -> Columns:
    """Return (scan, ring) logarithms of the mean in-plane power over rings of spatial frequency, up to Nyquist's."""
    power = (np.abs(np.fft.rfft2(volumes, axes=(2, 3))) ** 2).mean(axis=1)
    rows, columns = np.fft.fftfreq(volumes.shape[2]), np.fft.rfftfreq(volumes.shape[3])
    frequency = np.hypot(rows[:, None], columns)
    ring = np.minimum((frequency / 0.5 * rings).astype(np.int64), rings - 1).ravel()
    flat = power.reshape(len(volumes), -1)
    sums = np.stack([np.bincount(ring, weights=row, minlength=rings) for row in flat])
    means: Columns = sums / np.maximum(np.bincount(ring, minlength=rings), 1)
    return np.log(means + _FLOOR)
