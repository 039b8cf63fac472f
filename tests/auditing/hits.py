"""Whole audits in no time: of an attack, only whether it is right about each patient is drawn, and the truth is known.

Everything that makes tests of an audit depend on each other is there: patients who are hard for all, attacker seeds
that all share, initialisations with several accesses each, and two metrics of the same answers.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special

from flprivacy.auditing.estimates import estimate_excesses
from flprivacy.auditing.measures import Measured
from flprivacy.auditing.runs import AttackRuns, HeldOut
from flprivacy.auditing.uncertainty import Composed, resample_patients
from flprivacy.core.attributes import AttackKey, attribute_of
from flprivacy.core.audit import ExcessEstimate

ACCESSES = ("features", "outputs", "together", "finetune")
METRICS = {"f1_weighted": 0.0, "auc_ovr": 0.44}  # and how much of what they say is their own


class Drawn(NamedTuple):
    """One test of an audit."""

    excess: ExcessEstimate
    spread: Composed
    leaks: bool  # whether an excess was planted


@dataclass(frozen=True, kw_only=True)
class Hits:
    """Audits of targets that are as often right as fresh weights, half of the time, but for what is planted.

    Attributes:
        leaks: in so many attacks on the first target, the first ``leaks`` of attribute by attribute, access by access.
        planted: how much more often than half of the time these are right.
        spread: how much models differ, in units of what patients differ by.
        seed_spread: how much attacker seeds differ.
    """

    patients: int = 250
    targets: int = 5
    attributes: int = 4
    accesses: int = 4
    initialisations: int = 10
    seeds: int = 5
    planted: float = 0.0
    leaks: int = 0
    spread: float = 0.05
    seed_spread: float = 0.1

    def audit(self, seed: int, replicates: int = 200) -> list[Drawn]:
        """Return every test of one audit, held against fresh weights."""
        rng = np.random.default_rng([31, seed])
        of_patients = np.arange(self.patients)
        resampling = resample_patients(of_patients, replicates=replicates, seed=0)
        names = of_patients.astype(str)
        held_out = HeldOut(
            attribute=attribute_of("sex"),
            class_names=("a", "b"),
            scan_ids=names,
            patient_ids=names,
            patients=of_patients,
            truth=of_patients % 2.0,
        )
        found: list[Drawn] = []
        for attribute in range(self.attributes):
            values = self._values(rng, resampling.weights, attribute)
            for access, of_access in zip(ACCESSES, values, strict=False):
                leaks = ACCESSES.index(access) + attribute * self.accesses < self.leaks
                attacks = [
                    Measured(runs=runs, resampling=resampling, values={m: v[:, models] for m, v in of_access.items()})
                    for runs, models in self._runs(held_out, access)
                ]
                for number, target in enumerate(attacks[1:]):
                    excesses = estimate_excesses(target, attacks[:1], confidence=0.95)
                    found += [Drawn(*pair, leaks and number == 0) for pair in excesses.items()]
        return found

    def _values(self, rng: np.random.Generator, weights: np.ndarray, attribute: int) -> list[dict[str, np.ndarray]]:
        """Return for each access metric -> (row of weights, model, seed)."""
        models, noise, draw = self.initialisations + self.targets, 0.7, rng.standard_normal
        shapes = {  # what models have of their own: on a patient, as a whole, by seed, by seed and patient
            (models, 1, self.patients): 0.6,
            (models, 1, 1): self.spread,
            (models, self.seeds, 1): self.seed_spread,
            (models, self.seeds, self.patients): noise,
        }
        parts = {shape: draw(shape) for shape in shapes}
        shared = draw(self.patients) + self.seed_spread * draw((self.seeds, 1))
        size = np.sqrt(1.0 + self.seed_spread**2 + sum(size**2 for size in shapes.values()))
        found = []
        for access in range(self.accesses):
            latent = shared + sum(
                size * (np.sqrt(0.6) * parts[shape] + np.sqrt(0.4) * draw(shape)) for shape, size in shapes.items()
            )
            limit = np.zeros((models, 1, 1))
            if attribute * self.accesses + access < self.leaks:
                limit[self.initialisations] = special.ndtri(0.5 + self.planted)
            right = {
                metric: np.sqrt(1.0 - own**2) * latent / size + own * draw(latent.shape) + limit > 0.0
                for metric, own in METRICS.items()
            }
            total = weights.sum(axis=1, keepdims=True)
            found.append(
                {
                    m: (weights @ r.reshape(-1, self.patients).T / total).reshape(-1, *r.shape[:2])
                    for m, r in right.items()
                }
            )
        return found

    def _runs(self, held_out: HeldOut, access: str) -> list[tuple[AttackRuns, slice]]:
        """Return the attacks, fresh weights first, each with the models that it is on."""
        first = self.initialisations
        attacked = {"untrained": slice(0, first)} | {
            f"t{i}": slice(first + i, first + i + 1) for i in range(self.targets)
        }
        return [
            (
                AttackRuns(
                    attack=AttackKey(target=name, attribute="sex", access=access, fraction=0.25),
                    role="baseline" if name == "untrained" else "target",
                    models=tuple(f"model-{i}" for i in range(models.start, models.stop)),
                    seeds=tuple(range(self.seeds)),
                    held_out=held_out,
                    scores=np.zeros((1, 1, 1, 1), np.float32),  # nothing is measured on them
                ),
                models,
            )
            for name, models in attacked.items()
        ]
