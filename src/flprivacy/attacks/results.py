"""Finished attacks: kept on disk so that a killed run goes on, and put together as a score table."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from flprivacy.attacks.answering import Answer
from flprivacy.attacks.cache import Arrays, load_arrays, save_arrays
from flprivacy.attacks.features import Forward
from flprivacy.attacks.learner import curve_epochs
from flprivacy.attacks.scenario import Exposure, Scenario
from flprivacy.core.array_types import FloatArray, IntArray
from flprivacy.core.attributes import HELD_OUT, MEMBERS, AttackKey
from flprivacy.core.progress import progress
from flprivacy.core.scores import CURVE_COLUMNS, ScoreBlock, ScoreTable

_CURVES = "curves"
_PARTS = ("scores", "left_out", "evidence", "learners")  # of an answer


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """Where features come from."""

    model: str  # its name within the target
    digest: str  # of everything that the features depend on besides the scans
    forward: Callable[[], Forward]  # makes the function that computes them; called only if something is missing
    # of a model that is known by its answers alone: (scan,) rows of the cohort to these; None: they are computed
    recorded: Callable[[IntArray], Arrays] | None = None


class Job(NamedTuple):
    """What one result is about: the attack of one seed on all attributes."""

    source: Source
    access: str
    exposure: Exposure


@dataclass(frozen=True, kw_only=True, eq=False)
class Finished:
    """The answers and curves of one attacker seed, all attributes."""

    model: str
    access: str
    exposure: Exposure
    answers: dict[str, Answer]  # attribute -> answer
    curves: FloatArray  # (attribute, point) strength after curve_epochs epochs; no point where nothing is trained so


class Outcome(NamedTuple):
    """What an attack ends in: an answer for each attribute, and curves as in :class:`Finished`."""

    answers: Sequence[Answer]
    curves: FloatArray


class ResultStore:
    """Finished attacks in a folder, one file each, whole or absent."""

    def __init__(self, folder: Path) -> None:
        """Open the folder; it need not exist."""
        self.folder = folder

    def lacks(self, scenario: Scenario, job: Job) -> bool:
        """Say whether a job is not finished yet."""
        path = self._path(scenario, job)
        return not path.exists() or not path.stat().st_size  # a power failure left it empty

    def complete(
        self,
        scenario: Scenario,
        jobs: Sequence[Job],
        attack: Callable[[Job, Callable[[], None]], Outcome],
        *,
        description: str,
        steps: int,
    ) -> list[Finished]:
        """Run the jobs that are not finished, keep each result as soon as it is there, and return all, in their order.

        ``attack`` runs a job of so many ``steps`` and calls its second argument after each.

        Raises:
            AttackError: a file is damaged.
        """
        lacking = [place for place, job in enumerate(jobs) if self.lacks(scenario, job)]
        made: dict[int, Finished] = {}
        if lacking:
            with progress(description, len(jobs) * steps) as counter:
                counter.resume((len(jobs) - len(lacking)) * steps)
                for place in lacking:
                    job = jobs[place]
                    outcome = attack(job, counter.advance)
                    made[place] = _finished(job, scenario, outcome)
                    # Of hundreds of attacks, each takes less than the disk needs to be sure of its result.
                    save_arrays(self._path(scenario, job), _arrays(scenario, outcome), durable=False)
        return [made.get(place) or self._load(scenario, job) for place, job in enumerate(jobs)]

    def _load(self, scenario: Scenario, job: Job) -> Finished:
        arrays = load_arrays(self._path(scenario, job))
        return _finished(
            job, scenario, Outcome([_answer(arrays, one.name) for one in scenario.labels], arrays[_CURVES])
        )

    def _path(self, scenario: Scenario, job: Job) -> Path:
        names = (job.access, job.source.digest, job.exposure.fraction, job.exposure.sample.seed)
        return self.folder / f"{scenario.key(*names)}.npz"


def _finished(job: Job, scenario: Scenario, outcome: Outcome) -> Finished:
    answers = {one.name: answer for one, answer in zip(scenario.labels, outcome.answers, strict=True)}
    return Finished(
        model=job.source.model, access=job.access, exposure=job.exposure, answers=answers, curves=outcome.curves
    )


def _arrays(scenario: Scenario, outcome: Outcome) -> dict[str, npt.NDArray[Any]]:
    arrays: dict[str, npt.NDArray[Any]] = {_CURVES: outcome.curves}
    for one, answer in zip(scenario.labels, outcome.answers, strict=True):
        parts = (answer.scores, answer.left_out, answer.evidence, np.array(answer.learners, np.str_))
        arrays |= {f"{one.name}.{part}": values for part, values in zip(_PARTS, parts, strict=True)}
    return arrays


def _answer(arrays: dict[str, npt.NDArray[Any]], name: str) -> Answer:
    scores, left_out, evidence, learners = (arrays[f"{name}.{part}"] for part in _PARTS)
    return Answer(scores=scores, left_out=left_out, evidence=evidence, learners=tuple(learners.tolist()))


def tables(
    scenario: Scenario,
    done: Sequence[Finished],
    *,
    target: str,
    digest: str,
    role: str,
    architecture: str = "",
    notes: dict[str, str],
    doubt: str = "",
    unconfirmed: str = "",
    members: Callable[[str], bool] = lambda access: True,
) -> tuple[ScoreTable, pd.DataFrame]:
    """Put finished attacks together: their scores, and their curves with columns CURVE_COLUMNS.

    ``members`` says of an access whether its scores on members count. Scans without a value for an attribute are left
    out of its scores. A curve's ``epoch`` counts the epochs trained so
    far, from 0; its ``metric`` is the attribute's main one. Attacks without epochs have no curve.
    """
    table = ScoreTable(
        target=target,
        target_digest=digest,
        cohort_digest=scenario.cohort.meta.digest,
        role=role,
        architecture=architecture,
        class_names={one.name: one.class_names for one in scenario.labels},
        left_out={one.name: len(scenario.test) - len(one.known(scenario.test)) for one in scenario.labels},
        notes=notes,
        doubt=doubt,
        unconfirmed=unconfirmed,
        blocks=tuple(_blocks(scenario, done, target, members)),
    )
    curves = list(_curves(scenario, done, target))
    return table, pd.concat(curves, ignore_index=True) if curves else _no_curve()


def _no_curve() -> pd.DataFrame:
    types = dict.fromkeys(CURVE_COLUMNS, "object") | {"fraction": "float64", "value": "float64"}
    return pd.DataFrame(columns=list(CURVE_COLUMNS)).astype(types | {"seed": "int64", "epoch": "int64"})


def _blocks(
    scenario: Scenario, done: Sequence[Finished], target: str, members: Callable[[str], bool]
) -> Iterator[ScoreBlock]:
    manifest, rows_of = scenario.cohort.manifest, {HELD_OUT: scenario.test, MEMBERS: scenario.members}
    scan_ids, patient_ids = (manifest[name].to_numpy().astype(np.str_) for name in ("scan_id", "patient_id"))
    for some in done:
        for one, (scans, of_scans) in itertools.product(scenario.labels, rows_of.items()):
            rows = one.known(of_scans)
            if len(rows) and (scans == HELD_OUT or members(some.access)):
                yield ScoreBlock(
                    attack=AttackKey(
                        target=target,
                        attribute=one.name,
                        access=some.access,
                        fraction=some.exposure.fraction,
                        scans=scans,
                    ),
                    model=some.model,
                    seed=some.exposure.sample.seed,
                    scan_ids=scan_ids[rows],
                    patient_ids=patient_ids[rows],
                    truth=one.values[rows],
                    scores=np.ascontiguousarray(some.answers[one.name].scores[scenario.positions(rows)]),
                )


def _curves(scenario: Scenario, done: Sequence[Finished], target: str) -> Iterator[pd.DataFrame]:
    config = scenario.config
    for some in done:
        trained = config.finetune_epochs if some.access == "finetune" else config.epochs
        if not some.curves.size:
            continue
        epochs = curve_epochs(trained)
        for one, values in zip(scenario.labels, some.curves, strict=True):
            names = (target, some.model, one.name, some.access, some.exposure.fraction, some.exposure.sample.seed)
            columns = (*names, np.array(epochs, np.int64), one.attribute.metric, values)
            yield pd.DataFrame(dict(zip(CURVE_COLUMNS, columns, strict=True)))
