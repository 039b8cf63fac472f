"""Attackers without any model: what the scans themselves, or the mere frequencies of classes, already tell."""

from pathlib import Path

import numpy as np
import pandas as pd

from flprivacy.attacks.config import AttackConfig
from flprivacy.attacks.exposure import Exposure
from flprivacy.attacks.frozen import FrozenAttack, Source
from flprivacy.attacks.labels import AttributeLabels
from flprivacy.attacks.pixels import DIGEST, pixel_forward
from flprivacy.attacks.results import Finished, curves_frame, score_table
from flprivacy.attacks.scenario import Scenario, prepare
from flprivacy.core.cohort import Cohort
from flprivacy.core.scores import ScoreTable
from flprivacy.core.vocabulary import PROTOCOLS

PIXELS, MAJORITY = "pixels", "majority"
ACCESS, MODEL, ROLE = "none", "model", "baseline"


def attack_pixels(
    config: AttackConfig, cohort: Cohort, *, protocol: str, work: Path
) -> tuple[ScoreTable, pd.DataFrame]:
    """Attack the scans themselves: fixed image features (:mod:`flprivacy.attacks.pixels`), then the same heads.

    Args and returns as for :func:`flprivacy.attacks.attribute.attack_attributes`; the table's target is ``pixels``.

    Raises:
        AttackError: an attribute cannot be learnt or scored.
    """
    scenario = prepare(config, cohort, protocol=protocol)
    source = Source(model=MODEL, digest=DIGEST, forward=lambda: pixel_forward)
    done = FrozenAttack(scenario, [source], target=PIXELS, work=work).run([ACCESS])
    notes = {"protocol": protocol, "views": str(config.views), "features": "fixed image statistics, no model"}
    table = score_table(scenario, done, target=PIXELS, digest="", role=ROLE, notes=notes)
    return table, curves_frame(scenario, done, target=PIXELS)


def majority(config: AttackConfig, cohort: Cohort) -> ScoreTable:
    """Guess from the exposed labels alone: class frequencies as scores, the median for years.

    The guess with the highest score is the commonest class of the exposed sample.

    Raises:
        AttackError: an attribute cannot be learnt or scored.
    """
    scenario = prepare(config, cohort, protocol=PROTOCOLS[0])  # looks at no image
    done = [_guess(scenario, exposure) for exposure in scenario.exposures]
    return score_table(scenario, done, target=MAJORITY, digest="", role=ROLE, notes={"features": "none"})


def _guess(scenario: Scenario, exposure: Exposure) -> Finished:
    n = len(scenario.test)
    scores = {}
    for one in scenario.labels:
        guesses = np.stack([_guess_one(one, rows) for rows in exposure.rows])
        scores[one.name] = np.repeat(guesses[:, None], n, axis=1)  # (seed, scan, column)
    return Finished(
        model=MODEL,
        access=ACCESS,
        fraction=exposure.fraction,
        seeds=exposure.seeds,
        scores=scores,
        curves=np.empty((len(exposure.seeds), len(scenario.labels), 0)),
    )


def _guess_one(
    labels: AttributeLabels, rows: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    values = labels.values[rows]
    known = values[~np.isnan(values)]
    if labels.regression:
        return np.array([np.median(known)], dtype=np.float32)
    return (np.bincount(known.astype(np.int64), minlength=labels.width) / len(known)).astype(np.float32)
