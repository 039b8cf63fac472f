"""Finished attacks: kept on disk so that a killed run goes on, and put together as a score table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from flprivacy.attacks.archives import load_arrays, save_arrays
from flprivacy.attacks.scenario import Scenario
from flprivacy.core.scores import AttackKey, ScoreBlock, ScoreTable

CURVE_COLUMNS = ("target", "model", "attribute", "access", "fraction", "seed", "epoch", "metric", "value")
_CURVES = "curves"

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Finished:
    """The attacks on one model at one access and fraction, for some seeds and all attributes.

    Attributes:
        model: the model's name within its target.
        access: how it was reached.
        fraction: exposed fraction.
        seeds: (seed,) attacker seeds.
        scores: attribute -> (seed, held-out scan, column).
        curves: (seed, attribute, epoch) strength before each epoch and after the last.
    """

    model: str
    access: str
    fraction: float
    seeds: tuple[int, ...]
    scores: dict[str, FloatArray]
    curves: npt.NDArray[np.float64]


class ResultStore:
    """Finished attacks in a folder, one file each, whole or absent."""

    def __init__(self, folder: Path) -> None:
        """Open the folder; it need not exist."""
        self.folder = folder

    def __contains__(self, key: str) -> bool:
        return self._path(key).exists()

    def save(self, key: str, done: Finished) -> None:
        """Publish a finished attack under ``key``."""
        save_arrays(self._path(key), {_CURVES: done.curves, **done.scores})

    def load(self, key: str, *, model: str, access: str, fraction: float, seeds: tuple[int, ...]) -> Finished:
        """Read what :meth:`save` wrote.

        Raises:
            AttackError: the file is damaged.
        """
        arrays = load_arrays(self._path(key))
        curves = arrays.pop(_CURVES)
        return Finished(model=model, access=access, fraction=fraction, seeds=seeds, scores=arrays, curves=curves)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.npz"


def score_table(
    scenario: Scenario,
    done: Sequence[Finished],
    *,
    target: str,
    digest: str,
    role: str,
    architecture: str = "",
    notes: dict[str, str],
) -> ScoreTable:
    """Put finished attacks together; scans without a value for an attribute are left out of its blocks."""
    return ScoreTable(
        target=target,
        target_digest=digest,
        cohort_digest=scenario.cohort.meta.digest,
        role=role,
        architecture=architecture,
        class_names=scenario.class_names(),
        left_out=scenario.left_out(),
        notes=notes,
        blocks=tuple(_blocks(scenario, done, target)),
    )


def _blocks(scenario: Scenario, done: Sequence[Finished], target: str) -> Iterator[ScoreBlock]:
    manifest = scenario.cohort.manifest
    ids = {name: manifest[name].to_numpy()[scenario.test].astype(np.str_) for name in ("scan_id", "patient_id")}
    parts = {}
    for one in scenario.labels:
        known = scenario.scored(one)
        truth = one.values[scenario.test][known]
        parts[one.name] = (known, ids["scan_id"][known], ids["patient_id"][known], truth)
    for some in done:
        for s, seed in enumerate(some.seeds):
            for name, (known, scan_ids, patient_ids, truth) in parts.items():
                key = AttackKey(
                    target=target,
                    model=some.model,
                    attribute=name,
                    access=some.access,
                    fraction=some.fraction,
                    seed=seed,
                )
                scores = np.ascontiguousarray(some.scores[name][s][known])
                yield ScoreBlock(key=key, scan_ids=scan_ids, patient_ids=patient_ids, truth=truth, scores=scores)


def curves_frame(scenario: Scenario, done: Sequence[Finished], *, target: str) -> pd.DataFrame:
    """Return the curves of finished attacks as a table with columns CURVE_COLUMNS.

    ``epoch`` counts the epochs trained so far, from 0; ``metric`` is ``f1_weighted`` or, for ``age_years``,
    ``mae_years``.
    """
    frames = []
    for some in done:
        seeds, _, points = some.curves.shape
        for a, one in enumerate(scenario.labels):
            frames.append(
                pd.DataFrame(
                    {
                        "target": target,
                        "model": some.model,
                        "attribute": one.name,
                        "access": some.access,
                        "fraction": some.fraction,
                        "seed": np.repeat(np.asarray(some.seeds, dtype=np.int64), points),
                        "epoch": np.tile(np.arange(points, dtype=np.int64), seeds),
                        "metric": "mae_years" if one.regression else "f1_weighted",
                        "value": some.curves[:, a].ravel(),
                    }
                )
            )
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(CURVE_COLUMNS))
