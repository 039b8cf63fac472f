"""Small score tables of a whole study, to audit or to spoil."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from flprivacy.core.attributes import AttackKey
from flprivacy.core.scores import ScoreBlock, ScoreTable

SITES = ("north", "south", "west", "east")
CLASS_NAMES = {"site": SITES, "sex": ("F", "M"), "age_band": ("<50", "50-70", ">=70")}
ATTRIBUTES = ("site", "sex", "age_band", "age_years")
MODELS = {"central": 1, "siloed": 3, "untrained": 4, "pixels": 1, "majority": 1}
FRACTIONS = (0.1, 0.25)
SEEDS = (0, 1, 2, 3, 4)


class People:
    """Held-out scans, three for two patients; the last scans have no sex or age."""

    def __init__(self, n: int = 60, unknown: int = 6) -> None:
        rng = np.random.default_rng(n)
        self.scans = np.array([f"scan-{i}" for i in rng.permutation(n)])
        self.patients = np.array([f"patient-{i * 2 // 3}" for i in range(n)])
        years = rng.uniform(20, 90, n)
        self.truth = {
            "site": rng.integers(0, 4, n).astype(float),
            "sex": rng.integers(0, 2, n).astype(float),
            "age_band": np.digitize(years, [50, 70]).astype(float),
            "age_years": years,
        }
        self.known = {name: n if name == "site" else n - unknown for name in ATTRIBUTES}


def _scores(rng: np.random.Generator, truth: np.ndarray, attribute: str, signal: float) -> np.ndarray:
    if attribute == "age_years":
        return (55 + signal * (truth - 55) + rng.normal(0, 4, len(truth)))[:, None]
    width = len(CLASS_NAMES[attribute])
    logits = 3.0 * signal * (truth[:, None] == np.arange(width)) + rng.normal(0, 1, (len(truth), width))
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def make_table(target: str, people: People, *, signal: float, seeds: tuple[int, ...] = SEEDS) -> ScoreTable:
    """Return the scores of all attacks on one target; each block lists the scans in an order of its own."""
    no_model = target in ("pixels", "majority")
    rng = np.random.default_rng([len(target), *target.encode()])
    blocks = []
    for model in range(MODELS[target]):
        for access in ("none",) if no_model else ("features", "outputs"):
            for fraction in FRACTIONS:
                for attribute in ATTRIBUTES:
                    for seed in seeds:
                        order = rng.permutation(people.known[attribute])
                        truth = people.truth[attribute][order]
                        attack = AttackKey(target=target, attribute=attribute, access=access, fraction=fraction)
                        scores = _scores(rng, truth, attribute, signal).astype(np.float32)
                        scans, patients = people.scans[order], people.patients[order]
                        blocks.append(
                            ScoreBlock(
                                attack=attack,
                                model="model" if MODELS[target] == 1 else f"m-{model}",
                                seed=seed,
                                scan_ids=scans,
                                patient_ids=patients,
                                truth=truth,
                                scores=scores,
                            )
                        )
    return ScoreTable(
        target=target,
        target_digest="" if no_model else target * 3,
        cohort_digest="cohort",
        role="target" if target in ("central", "siloed") else "baseline",
        class_names=CLASS_NAMES,
        left_out={name: len(people.scans) - people.known[name] for name in ATTRIBUTES},
        blocks=tuple(blocks),
    )


def make_study(*, seeds: tuple[int, ...] = SEEDS, people: People | None = None) -> list[ScoreTable]:
    """Return the score tables of a study in which ``central`` leaks much and ``siloed`` a little."""
    people = people or People()
    signals = {"central": 0.9, "siloed": 0.5, "untrained": 0.3, "pixels": 0.3, "majority": 0.0}
    return [make_table(name, people, signal=signal, seeds=seeds) for name, signal in signals.items()]


def change(tables: list[ScoreTable], target: str, edit: Callable[[ScoreBlock], ScoreBlock | None]) -> list[ScoreTable]:
    """Return the tables with every block of one of them edited, or dropped where ``edit`` returns None."""
    changed = []
    for table in tables:
        blocks = tuple(b for b in map(edit, table.blocks) if b is not None) if table.target == target else table.blocks
        changed.append(replace(table, blocks=blocks))
    return changed


def make_curves() -> pd.DataFrame:
    """Return curves of one attack: 2 models, 5 seeds, 3 points."""
    rows = [
        {
            "target": "untrained",
            "model": f"m-{model}",
            "attribute": "site",
            "access": "features",
            "fraction": 0.25,
            "seed": seed,
            "epoch": epoch,
            "metric": "f1_weighted",
            "value": 0.1 * epoch + 0.01 * seed + 0.001 * model,
        }
        for model in range(2)
        for seed in SEEDS
        for epoch in (0, 1, 2)
    ]
    return pd.DataFrame(rows)
