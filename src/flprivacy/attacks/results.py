"""Finished attacks: kept on disk so that a killed run goes on, and put together as a score table."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from flprivacy.attacks.cache import load_arrays, save_arrays
from flprivacy.attacks.features import Forward
from flprivacy.attacks.learner import Trained
from flprivacy.attacks.scenario import Exposure, Scenario
from flprivacy.core.progress import progress
from flprivacy.core.scores import AttackKey, ScoreBlock, ScoreTable

CURVE_COLUMNS = ("target", "model", "attribute", "access", "fraction", "seed", "epoch", "metric", "value")
_CURVES = "curves"

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """Where features come from.

    Attributes:
        model: name of the model within its target.
        digest: of everything that the features depend on besides the scans.
        forward: makes the function that computes them; called only if something is missing.
    """

    model: str
    digest: str
    forward: Callable[[], Forward]


class Job(NamedTuple):
    """What one result is about: the attack on all attributes by one attacker seed."""

    source: Source
    access: str
    exposure: Exposure


@dataclass(frozen=True, kw_only=True, eq=False)
class Finished:
    """The attack of one seed on one model at one access and fraction, all attributes.

    Attributes:
        model: the model's name within its target.
        access: how it was reached.
        fraction: exposed fraction.
        seed: attacker seed.
        scores: attribute -> (held-out scan, column).
        curves: (attribute, epoch) strength before each epoch and after the last.
    """

    model: str
    access: str
    fraction: float
    seed: int
    scores: dict[str, FloatArray]
    curves: npt.NDArray[np.float64]


class ResultStore:
    """Finished attacks in a folder, one file each, whole or absent."""

    def __init__(self, folder: Path) -> None:
        """Open the folder; it need not exist."""
        self.folder = folder

    def lacks(self, scenario: Scenario, job: Job) -> bool:
        """Say whether a job is not finished yet."""
        return not self._path(scenario, job).exists()

    def complete(
        self,
        scenario: Scenario,
        jobs: Sequence[Job],
        attack: Callable[[Job, Callable[[], None]], Trained],
        *,
        description: str,
        epochs: int,
    ) -> list[Finished]:
        """Run the jobs that are not finished, keep each result as soon as it is there, and return all, in their order.

        Args:
            scenario: of the jobs.
            jobs: what to return.
            attack: runs a job, and calls its second argument after each epoch.
            description: shown with the progress.
            epochs: of every job.

        Raises:
            AttackError: a file is damaged.
        """
        lacking = [job for job in jobs if self.lacks(scenario, job)]
        if lacking:
            with progress(description, len(jobs) * epochs) as counter:
                counter.resume((len(jobs) - len(lacking)) * epochs)
                for job in lacking:
                    trained = attack(job, counter.advance)
                    scores = {one.name: trained.scores[a, :, : one.head.width] for a, one in enumerate(scenario.labels)}
                    save_arrays(self._path(scenario, job), {_CURVES: trained.curves, **scores})
        return [self._load(scenario, job) for job in jobs]

    def _load(self, scenario: Scenario, job: Job) -> Finished:
        scores = load_arrays(self._path(scenario, job))
        curves = scores.pop(_CURVES)
        return Finished(
            model=job.source.model,
            access=job.access,
            fraction=job.exposure.fraction,
            seed=job.exposure.sample.seed,
            scores=scores,
            curves=curves,
        )

    def _path(self, scenario: Scenario, job: Job) -> Path:
        names = (job.access, job.source.digest, job.exposure.fraction, job.exposure.sample.seed)
        return self.folder / f"{scenario.key(*names)}.npz"


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
        for name, (known, scan_ids, patient_ids, truth) in parts.items():
            key = AttackKey(
                target=target,
                model=some.model,
                attribute=name,
                access=some.access,
                fraction=some.fraction,
                seed=some.seed,
            )
            scores = np.ascontiguousarray(some.scores[name][known])
            yield ScoreBlock(key=key, scan_ids=scan_ids, patient_ids=patient_ids, truth=truth, scores=scores)


def curves_frame(scenario: Scenario, done: Sequence[Finished], *, target: str) -> pd.DataFrame:
    """Return the curves of finished attacks as a table with columns CURVE_COLUMNS.

    ``epoch`` counts the epochs trained so far, from 0; ``metric`` is the attribute's main one.
    """
    frames = [
        pd.DataFrame(
            {
                "target": target,
                "model": some.model,
                "attribute": one.name,
                "access": some.access,
                "fraction": some.fraction,
                "seed": some.seed,
                "epoch": np.arange(len(values), dtype=np.int64),
                "metric": one.attribute.metric,
                "value": values,
            }
        )
        for some in done
        for one, values in zip(scenario.labels, some.curves, strict=True)
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(CURVE_COLUMNS))
