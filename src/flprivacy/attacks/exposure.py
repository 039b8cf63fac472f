"""What the attacker holds: the exposed scans of every seed, as targets and weights for the heads."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flprivacy.attacks.labels import AttributeLabels, check_learnable
from flprivacy.cohorts.sampling import exposed_rows
from flprivacy.core.cohort import Cohort

# The reference study balances fully (1). With heavy-tailed sites, an attacker who does so and knows little guesses
# worse than the majority by weighted F1; half-way is stronger by weighted F1 and no weaker by macro F1.
BALANCE = 0.5

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Exposure:
    """The exposed samples of one fraction, one per attacker seed, all of the same size.

    Attributes:
        fraction: exposed fraction of the training scans, in (0, 1].
        seeds: (seed,) attacker seeds.
        rows: (seed, scan) row numbers in the cohort, ascending.
        targets: (seed, attribute, scan) class index, or years standardised with ``centre`` and ``spread``;
            0 where unknown.
        weights: (seed, attribute, scan) loss weights: of :func:`class_weights` for a class, 1 for years,
            0 where unknown; their sum is the number of scans with a value.
        centre: (seed, attribute) mean years of the exposed sample; 0 for classes.
        spread: (seed, attribute) standard deviation of its years; 1 for classes.
    """

    fraction: float
    seeds: tuple[int, ...]
    rows: IntArray
    targets: FloatArray
    weights: FloatArray
    centre: FloatArray
    spread: FloatArray

    def only(self, seed: int) -> "Exposure":
        """Return the exposed sample of one seed."""
        place = slice(self.seeds.index(seed), self.seeds.index(seed) + 1)
        arrays = {name: getattr(self, name)[place] for name in ("rows", "targets", "weights", "centre", "spread")}
        return Exposure(fraction=self.fraction, seeds=(seed,), **arrays)


def draw_exposure(
    cohort: Cohort, labels: Sequence[AttributeLabels], *, fraction: float, seeds: Sequence[int]
) -> Exposure:
    """Draw the exposed sample of every seed; all attributes of a seed share it.

    Raises:
        AttackError: an exposed sample with fewer than two values of an attribute, or a site without exposed scan.
    """
    rows = np.stack([exposed_rows(cohort, fraction=fraction, seed=seed) for seed in seeds])
    shape = (len(seeds), len(labels))
    targets = np.zeros((*shape, rows.shape[1]), np.float32)
    weights = np.zeros_like(targets)
    centre, spread = np.zeros(shape, np.float32), np.ones(shape, np.float32)
    for s, seed in enumerate(seeds):
        for a, one in enumerate(labels):
            check_learnable(one, rows[s], fraction=fraction, seed=seed)
            values = one.values[rows[s]]
            if one.regression:
                centre[s, a], spread[s, a] = np.nanmean(values), np.nanstd(values)
                weights[s, a] = ~np.isnan(values)
            else:
                weights[s, a] = class_weights(values, one.width)
            targets[s, a] = np.nan_to_num((values - centre[s, a]) / spread[s, a])
    return Exposure(
        fraction=fraction, seeds=tuple(seeds), rows=rows, targets=targets, weights=weights, centre=centre, spread=spread
    )


def class_weights(
    values: npt.NDArray[np.float64], n_classes: int, *, balance: float = BALANCE
) -> npt.NDArray[np.float64]:
    """Weigh scans by ``class size ** -balance``, with sum the number of scans with a class.

    Args:
        values: (scan,) class index, NaN where unknown.
        n_classes: number of classes.
        balance: 0 weighs all scans alike, 1 all classes alike.

    Returns:
        (scan,) weights; 0 where unknown.
    """
    known = ~np.isnan(values)
    index = values[known].astype(np.int64)
    sizes = np.bincount(index, minlength=n_classes)[index].astype(np.float64)
    weights = np.zeros(len(values))
    weights[known] = sizes**-balance * known.sum() / (sizes**-balance).sum()
    return weights


def needed_rows(exposures: Sequence[Exposure]) -> IntArray:
    """Return the rows, ascending, that any seed of any fraction exposes (samples are nested over fractions)."""
    return np.unique(np.concatenate([exposure.rows.ravel() for exposure in exposures]))
