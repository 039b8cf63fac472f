"""Curves of an attack's strength over its epochs, with bands."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from flprivacy.auditing.measures import LOWER_IS_STRONGER
from flprivacy.core.audit import Curve
from flprivacy.core.errors import AuditError

CURVE_COLUMNS = ("target", "model", "attribute", "access", "fraction", "seed", "epoch", "metric", "value")
_ATTACK = ["target", "attribute", "access", "fraction", "metric"]


def curves_with_bands(curves: pd.DataFrame, *, confidence: float) -> list[Curve]:
    """Return one curve per attack and metric: mean over models and attacker seeds.

    The band is the t interval of the mean over seeds, from nothing but the spread between the seeds' means over
    models, cut off at the ends of the metric's range. It shows how much the attacker's luck matters on these held-out
    scans; it says nothing of other patients, unlike the intervals of the metrics.

    Args:
        curves: rows of CURVE_COLUMNS.
        confidence: coverage of the band.

    Raises:
        AuditError: missing columns, values that are not finite, epochs that a model or seed lacks or has twice, or
            fewer than 2 seeds.
    """
    missing = sorted(set(CURVE_COLUMNS) - set(curves.columns))
    if missing:
        raise AuditError(f"curves: column {missing[0]!r} is missing; run the attack steps again")
    if curves.empty:
        return []
    values = curves["value"].to_numpy(dtype=np.float64)
    if not np.isfinite(values).all():
        raise AuditError("curves: a value is not finite; look for a diverged attack")
    return [_curve(rows, confidence) for _, rows in curves.groupby(_ATTACK, sort=True)]


def _curve(rows: pd.DataFrame, confidence: float) -> Curve:
    first = rows.iloc[0]
    metric = str(first["metric"])
    grid = rows.pivot_table(index="epoch", columns=["seed", "model"], values="value", aggfunc="first")
    n_seeds = grid.columns.get_level_values("seed").nunique()
    if grid.size != len(rows) or grid.isna().to_numpy().any() or n_seeds < 2:
        raise AuditError(
            f"curves: {first['target']}, {first['attribute']} from {first['access']} at exposed fraction "
            f"{first['fraction']:g} has {len(rows)} points for {n_seeds} seed(s); every seed (at least 2) and model "
            "needs each epoch once: run the attack again"
        )
    by_seed = grid.T.groupby(level="seed").mean().to_numpy(dtype=np.float64)
    mean, low, high = _band(by_seed, metric, confidence)
    return Curve(
        target=str(first["target"]),
        attribute=str(first["attribute"]),
        access=str(first["access"]),
        fraction=float(first["fraction"]),
        metric=metric,
        epochs=tuple(int(epoch) for epoch in grid.index),
        mean=tuple(mean.tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
    )


def _band(
    by_seed: npt.NDArray[np.float64], metric: str, confidence: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return mean, low and high of (seed, epoch) values."""
    n_seeds = len(by_seed)
    mean = by_seed.mean(axis=0)
    reach = stats.t.ppf(0.5 + confidence / 2.0, n_seeds - 1) * by_seed.std(axis=0, ddof=1) / np.sqrt(n_seeds)
    highest = np.inf if metric in LOWER_IS_STRONGER else 1.0
    return mean, np.maximum(mean - reach, 0.0), np.minimum(mean + reach, highest)
