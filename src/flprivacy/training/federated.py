"""Federated averaging (McMahan et al., arXiv:1602.05629): clients train, a server averages their weights."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from flprivacy.core.progress import Progress, progress
from flprivacy.training.aggregation import weighted_average
from flprivacy.training.batches import steps_per_epoch
from flprivacy.training.checkpoint import Checkpoint
from flprivacy.training.draws import batch_generator, client_generator, layer_generator
from flprivacy.training.local import Pass
from flprivacy.training.partition import partition
from flprivacy.training.pool import Indices
from flprivacy.training.topology import Run, TrainedModel, Weights

_MODEL = "model"


def train_federated(run: Run) -> list[TrainedModel]:
    """Return the global model after ``config.rounds`` rounds, or carry on from its checkpoint.

    In each round the drawn clients start from the global weights with a fresh optimizer, train for
    ``config.local_epochs`` and are averaged by their numbers of scans. The model's members are the scans of every
    client that was ever drawn: the others have not touched it.

    Raises:
        TrainingError: a site has no training scan, or a loss is no longer finite.
    """
    config = run.config
    clients = partition(run.cohort, kind=config.partition, seed=config.seed)
    drawn = [draw_clients(len(clients), config.client_fraction, config.seed, r) for r in range(config.rounds)]
    steps = [steps_per_epoch(len(c), config.batch_size) * config.local_epochs for c in clients]
    members = np.sort(np.concatenate([clients[c] for c in sorted({int(c) for r in drawn for c in r})]))
    saved = run.checkpoints.load(_MODEL)
    done, history = (saved.done, saved.history) if saved else (0, [])
    weights = saved.arrays if saved else run.initial_weights(0)
    with progress(f"training {run.name}", sum(steps[c] for r in drawn for c in r)) as counter:
        if done:
            counter.resume(sum(steps[c] for r in drawn[:done] for c in r))
        for round_ in range(done, config.rounds):
            weights, result = _round(run, weights, clients, drawn[round_], round_, counter)
            entry = {"round": round_ + 1, "clients": len(drawn[round_])}
            history = [*history, entry | {"loss": result.loss, "accuracy": result.accuracy}]
            run.checkpoints.save(_MODEL, Checkpoint(done=round_ + 1, arrays=weights, history=history))
    return [TrainedModel(name=_MODEL, weights=weights, members=members, history=history)]


def draw_clients(n_clients: int, fraction: float, seed: int, round_: int) -> npt.NDArray[np.int64]:
    """Draw one round's clients: ``fraction`` of them rounded to the nearest, at least one; ascending."""
    count = max(1, round(fraction * n_clients))
    return np.sort(client_generator(seed, round_).choice(n_clients, size=count, replace=False))


def _round(
    run: Run,
    weights: Weights,
    clients: tuple[Indices, ...],
    drawn: npt.NDArray[np.int64],
    round_: int,
    counter: Progress,
) -> tuple[Weights, Pass]:
    """Return the new global weights, and loss and accuracy of the last local epoch over all drawn scans."""
    sizes = [len(clients[c]) for c in drawn]
    results: list[Pass] = []

    def updates() -> Iterator[Weights]:
        for client in drawn.tolist():
            results.append(_train_client(run, weights, clients[client], client, round_, counter))
            yield run.learner.weights()

    average = weighted_average(updates(), sizes)
    loss, accuracy = np.average(np.array(results), axis=0, weights=sizes)
    return average, Pass(loss=float(loss), accuracy=float(accuracy))


def _train_client(run: Run, weights: Weights, members: Indices, client: int, round_: int, counter: Progress) -> Pass:
    """Train a client from the global weights; the learner holds its weights afterwards."""
    config = run.config
    run.learner.start(weights, layer_generator(config.seed, client, round_))
    for epoch in range(config.local_epochs):
        result = run.learner.train_epoch(
            run.pool,
            members,
            view=round_ * config.local_epochs + epoch,
            generator=batch_generator(config.seed, client, round_, epoch),
            advance=counter.advance,
            where=f"client site-{client:02d} in round {round_ + 1}",
        )
    return result
