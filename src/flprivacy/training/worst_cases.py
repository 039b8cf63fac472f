"""Worst cases of private training: many tiny trainings, each with or without one unit by a fair coin.

They show mistakes that canaries of a single training cannot, because only one unit at a time makes them visible. What
they train with is the product's own - the plan, sampling, clipping, noise, rounds and averages - on blank scans and a
network of some hundred weights, so that a trial takes milliseconds. Bounds on what an observer can tell are drawn from
the trials as from canaries, which cannot influence each other here.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from flprivacy.core.cohort import MANIFEST_COLUMNS, TRAIN, Cohort, CohortMeta
from flprivacy.core.progress import progress
from flprivacy.privacy.config import PrivacyConfig
from flprivacy.training.checkpoint import Checkpoints
from flprivacy.training.config import TargetConfig
from flprivacy.training.dp_sgd import dp_sgd
from flprivacy.training.draws import Place, batch_generator, layer_generator
from flprivacy.training.federated import train_round
from flprivacy.training.gradient_canaries import GradientCanaries
from flprivacy.training.local import Learner
from flprivacy.training.method import Method
from flprivacy.training.pool import Pool, partition
from flprivacy.training.private_run import PrivateRun, plan_private_run
from flprivacy.training.topology import Run

TRIALS = 400
_SHAPE = (4, 8, 8)
_MANY = 16  # scans of a patient who has many
_DECLARED = 3  # units of every client
_PROTOCOL = "standard"
_OTHERS, _LONGEST = 10.0, 1000.0  # gradients of canaries: lengths over the clip norm

Included = npt.NDArray[np.bool_]
PrivateMethod = Callable[[PrivateRun, GradientCanaries | None], Method]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trials:
    """What an observer saw of one worst case.

    Attributes:
        what: in a sentence, what differs between in and out, and what is observed.
        included: (trial,) whether the unit was in.
        scores: (trial,) higher for likelier in.
        epsilon: that each training claims, at ``delta``.
    """

    name: str
    what: str
    included: Included
    scores: npt.NDArray[np.float64]
    epsilon: float
    delta: float


def _one_against_all(method: PrivateMethod, included: Included, seed: int) -> Trials:
    """One unit against the direction of all others and longer than all of them: it reverses a mean that is clipped.

    Clipped by itself it moves the sum by one clip norm, as is claimed. Each trial is one model of a siloed target.
    """
    n = len(included)
    canaries = GradientCanaries(
        included=np.concatenate([np.ones(n, dtype=bool), included]),
        places=np.zeros(2 * n, dtype=np.int64),
        signs=np.repeat(np.array([1.0, -1.0], dtype=np.float32), n),
        lengths=np.repeat(np.array([_OTHERS, _LONGEST], dtype=np.float32), n),
        clients=n,
    )
    run = _run("siloed", {f"{trial}-0": 1 for trial in range(n)}, method, 0.5, seed, canaries)
    scores = np.empty(n)
    with progress("one unit against all others", n) as counter:
        for trial in range(n):
            run.learner.start(run.initial_weights(0), layer_generator(seed, trial, 0))
            run.learner.train_epoch(
                run.pool,
                np.full(1 + len(canaries.inside(trial)), trial),
                view=0,
                generator=batch_generator(seed, trial, 0, 0),
                advance=counter.advance,
                where="a worst case",
                place=Place(client=trial),
            )
            scores[trial] = run.learner.memory()[0][0, n + trial]
    what = "a unit whose gradient opposes those of all others and is longer, or no such unit; the weight that they move"
    return _claimed("one against all", what, run, included, scores)


def _many_scans(method: PrivateMethod, included: Included, seed: int) -> Trials:
    few, many = {"a-0": 1, "b-0": 1}, {"a-0": _MANY, "b-0": 1}
    spreads, run = _spreads("a patient with many scans", (few, many), method, included, seed)
    what = f"one patient of two clients has {_MANY} scans, or 1; how far the averaged noise spreads"
    return _claimed("many scans", what, run, included, spreads)


def _one_more(method: PrivateMethod, included: Included, seed: int) -> Trials:
    spreads, run = _spreads("one patient more", ({"a-0": 1}, {"a-0": 1, "a-1": 1}), method, included, seed)
    what = "two patients, or 1; how little the noise over their number spreads"
    return _claimed("one more", what, run, included, -spreads)


def _spreads(
    name: str, scans: Sequence[Mapping[str, int]], method: PrivateMethod, included: Included, seed: int
) -> tuple[npt.NDArray[np.float64], Run]:
    """Take a round of federated averaging a trial, with scans of the cohort without or with the unit.

    Returns:
        (trial,) how far each spreads fresh weights, and the run without the unit.
    """
    worlds = [_run("federated", held, method, 8.0, seed) for held in scans]
    clients = [partition(world.cohort, kind="natural", seed=0) for world in worlds]
    start, drawn = worlds[0].initial_weights(0), np.arange(len(clients[0]))
    spreads = np.empty(len(included))
    with progress(name, len(included) * len(drawn)) as counter:
        for trial, inside in enumerate(included.tolist()):
            after, _ = train_round(worlds[inside], start, clients[inside], drawn, trial, counter, [])
            spreads[trial] = np.std(np.concatenate([(a - b).ravel() for a, b in zip(after, start, strict=True)]))
    return spreads, worlds[0]


def _claimed(name: str, what: str, run: Run, included: Included, scores: npt.NDArray[np.float64]) -> Trials:
    assert run.private is not None
    _, stated = run.private.state({client: event.steps for client, event in run.private.events.items()})
    return Trials(name=name, what=what, included=included, scores=scores, epsilon=stated.epsilon, delta=stated.delta)


def _run(
    topology: str,
    scans: Mapping[str, int],
    method: PrivateMethod,
    noise: float,
    seed: int,
    canaries: GradientCanaries | None = None,
) -> Run:
    """Return a run in which every unit takes part in one step, so that one shows as much as it can."""
    privacy = PrivacyConfig(
        unit="patient", noise_multiplier=noise, sampling_rate=1.0, population=_DECLARED, optimizer="sgd"
    )
    config = TargetConfig(topology=topology, epochs=1, rounds=1, learning_rate=0.1, privacy=privacy)
    cohort, network = _cohort(scans), _network()
    private = plan_private_run(config, cohort, seed=seed, canaries=canaries)
    assert private is not None
    start = [np.asarray(w) for w in network.get_weights()]
    return Run(
        name="worst case",
        config=config,
        cohort=cohort,
        pool=_pool(cohort),
        learner=Learner(network, method(private, canaries), config),
        initial_weights=lambda _: start,
        checkpoints=Checkpoints(folder=Path(), key=""),  # never used: a trial is over in milliseconds
        private=private,
        canaries=canaries,
    )


def _network() -> keras.Model:
    """Softmax regression: 514 weights."""
    scans = keras.layers.Input((*_SHAPE, 1))
    classes = keras.layers.Dense(2, "softmax", kernel_initializer="zeros")
    return keras.Model(scans, classes(keras.layers.Flatten()(scans)))


def _cohort(scans: Mapping[str, int]) -> Cohort:
    """Return blank scans: patient ("site-number") -> how many."""
    patients = [patient for patient, count in scans.items() for _ in range(count)]
    sites = list(dict.fromkeys(patient.split("-")[0] for patient in patients))
    manifest = pd.DataFrame(dict.fromkeys(MANIFEST_COLUMNS, None), index=range(len(patients)))
    manifest["patient_id"] = patients
    manifest["site_id"] = [sites.index(patient.split("-")[0]) for patient in patients]
    manifest["split"], manifest["label"] = TRAIN, 0
    meta = CohortMeta(
        name="blank",
        shape=_SHAPE,
        window_hu=(-1000.0, 400.0),
        spacing_mm=None,
        site_names=tuple(sites),
        class_names=("a", "b"),
    )
    return Cohort(meta=meta, manifest=manifest, folder=Path())


def _pool(cohort: Cohort) -> Pool:
    n = len(cohort.manifest)
    return Pool(
        read=lambda indices: np.full((len(indices), *_SHAPE), 128, dtype=np.uint8),
        labels=np.zeros(n, dtype=np.int64),
        keys=np.arange(n, dtype=np.uint64),
        n_classes=2,
        protocol=_PROTOCOL,
    )


CASES: dict[str, Callable[[PrivateMethod, Included, int], Trials]] = {
    "one against all": _one_against_all,
    "many scans": _many_scans,
    "one more": _one_more,
}


def worst_cases(
    method: PrivateMethod = dp_sgd, *, cases: Collection[str] = tuple(CASES), trials: int = TRIALS, seed: int = 0
) -> list[Trials]:
    """Train ``trials`` times for each worst case.

    Args:
        method: what one step does: (plan, gradient canaries) -> method.
        cases: names of ``CASES``.
        trials: of each case.
        seed: draws coins, samples and noise, here no secret.
    """
    coins = np.random.default_rng([13, seed]).random((len(CASES), trials)) < 0.5
    return [case(method, coins[i], seed) for i, (name, case) in enumerate(CASES.items()) if name in cases]
