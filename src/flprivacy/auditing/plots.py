"""What the report draws of the attacks: confusion matrices, predicted against true age, and curves over epochs."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from flprivacy.auditing.measures import predicted_classes
from flprivacy.auditing.runs import AttackRuns
from flprivacy.core.array_types import FloatArray
from flprivacy.core.attributes import METRICS, AttackKey
from flprivacy.core.audit import AgeScatter, ConfusionMatrix, Curve
from flprivacy.core.errors import AuditError
from flprivacy.core.metrics import confusion_matrices
from flprivacy.core.scores import CURVE_COLUMNS

if TYPE_CHECKING:
    import pandas as pd


_ATTACK = ["target", "attribute", "access", "fraction"]


def confusions(attacks: Iterable[AttackRuns]) -> list[ConfusionMatrix]:
    """Return the confusion matrix of every attack on classes: scans, mean over attacker seeds and models."""
    found = []
    for runs in attacks:
        if names := runs.held_out.class_names:
            matrices = confusion_matrices(runs.held_out.truth, predicted_classes(runs), len(names))
            counts = tuple(tuple(row) for row in matrices.mean(axis=(0, 1)).tolist())
            found.append(ConfusionMatrix(attack=runs.attack, class_names=names, counts=counts))
    return found


def scatters(attacks: Iterable[AttackRuns]) -> list[AgeScatter]:
    """Return one scatter per attack on years of age: the target's first model, mean over attacker seeds.

    Pairs are sorted by age, so that their order says nothing about whose they are.
    """
    found = []
    for runs in attacks:
        if runs.held_out.attribute.is_regression:
            truth, predicted = runs.held_out.truth, runs.scores[0, :, :, 0].astype(np.float64).mean(axis=0)
            order = np.lexsort((predicted, truth))
            years = tuple(truth[order].tolist()), tuple(predicted[order].tolist())
            found.append(AgeScatter(attack=runs.attack, truth_years=years[0], predicted_years=years[1]))
    return found


def curves_with_bands(curves: "pd.DataFrame", *, confidence: float) -> list[Curve]:
    """Return one curve per attack and metric: mean over models and attacker seeds.

    The band is the t interval of the mean over seeds, from nothing but the spread between the seeds' means over
    models, cut off at the ends of the metric's range. It shows how much the attacker's seed matters on these held-out
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
    return [_curve(rows, confidence) for _, rows in curves.groupby([*_ATTACK, "metric"], sort=True)]


def _curve(rows: "pd.DataFrame", confidence: float) -> Curve:
    first = rows.iloc[0]
    target, attribute, access, fraction = (first[name] for name in _ATTACK)
    attack = AttackKey(target=str(target), attribute=str(attribute), access=str(access), fraction=float(fraction))
    grid = rows.pivot_table(index="epoch", columns=["seed", "model"], values="value", aggfunc="first")
    n_seeds = grid.columns.get_level_values("seed").nunique()
    if grid.size != len(rows) or grid.isna().to_numpy().any() or n_seeds < 2:
        raise AuditError(
            f"curves of {attack}: {len(rows)} points for {n_seeds} seed(s); every seed (at least 2) and model needs "
            "each epoch once: run the attack again"
        )
    by_seed = grid.T.groupby(level="seed").mean().to_numpy(dtype=np.float64)
    band = _band(by_seed, METRICS[str(first["metric"])].highest, confidence)
    mean, low, high = (tuple(values.tolist()) for values in band)
    epochs = tuple(int(epoch) for epoch in grid.index)
    return Curve(attack=attack, metric=str(first["metric"]), epochs=epochs, mean=mean, low=low, high=high)


def _band(by_seed: FloatArray, highest: float, confidence: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return mean, low and high of (seed, epoch) values."""
    n_seeds = len(by_seed)
    mean = by_seed.mean(axis=0)
    quantile = special.stdtrit(n_seeds - 1, 0.5 + confidence / 2.0)
    reach = quantile * by_seed.std(axis=0, ddof=1) / np.sqrt(n_seeds)
    return mean, np.maximum(mean - reach, 0.0), np.minimum(mean + reach, highest)
