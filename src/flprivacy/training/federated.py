"""Federated averaging (McMahan et al., arXiv:1602.05629): clients train, a server averages their weights."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from flprivacy.core.array_types import Array, FloatArray, IntArray
from flprivacy.core.errors import TrainingError
from flprivacy.core.progress import Progress, progress
from flprivacy.privacy.sampling import poisson_sample
from flprivacy.privacy.site_level import private_mean_update
from flprivacy.training.checkpoint import Checkpoint
from flprivacy.training.draws import Place, batch_generator, draw_clients, layer_generator
from flprivacy.training.local import Pass
from flprivacy.training.pool import Indices, partition
from flprivacy.training.private_run import SERVER, PrivateRun
from flprivacy.training.topology import Run, TrainedModel, Weights

_MODEL = "model"


def train_federated(run: Run) -> list[TrainedModel]:
    """Return the global model after ``config.rounds`` rounds, or carry on from its checkpoint.

    In each round the drawn clients start from the global weights with a fresh optimizer, train for
    ``config.local_epochs`` and are averaged by their numbers of scans, or by the numbers of units that everybody may
    know where scans or patients are protected; where sites are, their updates are clipped, summed and noised instead.
    The model's members are the scans of every client that was ever drawn: the others have not touched it.

    Raises:
        TrainingError: a site has no training scan, or a loss is no longer finite.
    """
    config = run.config
    parts = partition(run.cohort, kind=config.partition, seed=config.seed)
    clients = tuple(_with_canaries(run, number, part) for number, part in enumerate(run.trained_on(parts)))
    drawn = [_draw(run, len(clients), round_) for round_ in range(run.rounds)]
    steps = [run.learner.steps(len(c), number) * config.local_epochs for number, c in enumerate(clients)]
    members = np.sort(np.concatenate([parts[c] for c in _ever_drawn(run, drawn, len(clients))]))
    saved = run.checkpoints.load(_MODEL)
    done, history, counts = (saved.done, saved.history, saved.steps) if saved else (0, [], {})
    arrays = saved.arrays if saved else [*run.initial_weights(0), *_no_marks(run)]
    weights, marks = arrays[: (size := len(run.learner.weights()))], arrays[size:]
    planned = [sum(steps[c] for c in r if c < len(steps)) for r in drawn]
    with progress(f"training {run.name}", sum(planned)) as counter:
        if done:
            counter.resume(sum(planned[:done]))
        for round_ in range(done, run.rounds):
            weights, results = train_round(run, weights, clients, drawn[round_], round_, counter, marks)
            counts = _counted(run, counts, results)
            entry: dict[str, float] = {"round": round_ + 1}
            if not run.site_level:
                entry["clients"] = len(drawn[round_])
            history = [*history, run.entry(entry, _mean(results, clients))]
            arrays = [*weights, *marks]
            run.checkpoints.save(_MODEL, Checkpoint(done=round_ + 1, arrays=arrays, history=history, steps=counts))
    return [TrainedModel(name=_MODEL, weights=weights, members=members, history=history, steps=counts, memory=marks)]


def _with_canaries(run: Run, client: int, scans: Indices) -> Indices:
    """Return a client's scans, and behind them places for the gradient canaries that are in there."""
    inside = len(run.canaries.inside(client)) if run.canaries is not None and not run.site_level else 0
    return np.concatenate([scans, np.zeros(inside, dtype=np.int64)])


def _no_marks(run: Run) -> list[Array]:
    """Return marks that nobody left yet: what the method remembers, or a round's marks of canaries that are sites."""
    if run.site_level and run.canaries is not None:
        return [np.zeros((1, len(run.canaries.included)), dtype=np.float32)]
    return [np.zeros_like(a) for a in run.learner.memory()]


def _ever_drawn(run: Run, drawn: Sequence[IntArray], n_clients: int) -> list[int]:
    """Return the clients that took part; where sites are protected that is a secret, and all of them may have."""
    return list(range(n_clients)) if run.site_level else sorted({int(c) for r in drawn for c in r})


def _draw(run: Run, n_clients: int, round_: int) -> IntArray:
    """Draw one round's clients; where sites are protected, each by a coin of its own, and maybe none."""
    if run.private is not None and run.private.site_level:
        rate = run.private.events[SERVER].sampling_rate
        n = n_clients + (run.canaries.count if run.canaries is not None else 0)
        return poisson_sample(n, rate, seed=run.private.seed, key=(round_,))
    return draw_clients(n_clients, run.config.client_fraction, run.config.seed, round_)


def train_round(
    run: Run,
    weights: Weights,
    clients: tuple[Indices, ...],
    drawn: IntArray,
    round_: int,
    counter: Progress,
    marks: list[Array],
) -> tuple[Weights, dict[int, Pass]]:
    """Return the new global weights, and each drawn client's last local epoch with the steps of all; add to marks."""
    results: dict[int, Pass] = {}

    def updates() -> Iterator[Weights]:
        for client in drawn.tolist():
            if run.canaries is not None and client >= len(clients):
                canary = int(run.canaries.inside(0)[client - len(clients)])
                yield [w + u for w, u in zip(weights, run.canaries.update(canary, run.learner.model), strict=True)]
                continue
            results[client] = _train_client(run, weights, clients[client], client, round_, counter)
            for total, seen in zip(marks, run.learner.memory(), strict=False):  # none where canaries are sites
                total += seen
            yield run.learner.weights()

    if run.private is not None and run.private.site_level:
        averaged = _private_average(run.private, weights, updates(), round_)
        if run.canaries is not None:
            event = run.private.events[SERVER]
            moved = (_seen(run, weights) - _seen(run, averaged)) * event.expected_batch / event.clip_norm
            marks[0] += run.canaries.signs * moved
        return averaged, results
    return weighted_average(updates(), _shares(run, clients, drawn)), results


def _shares(run: Run, clients: tuple[Indices, ...], drawn: IntArray) -> list[int]:
    """Return what each drawn client counts: its scans, or its public number of units where these are protected.

    Numbers of scans are not noised: by them the spread of the average's noise would tell one patient with many scans.
    """
    if run.private is not None:
        return [run.private.events[c].population for c in drawn.tolist()]
    return [len(clients[c]) for c in drawn]


def _seen(run: Run, weights: Weights) -> Array:
    """Return (canary,) the weight of each canary."""
    run.learner.model.set_weights(weights)
    return run.canaries.look(run.learner.model) if run.canaries is not None else np.zeros(0)


def _private_average(private: PrivateRun, weights: Weights, trained: Iterator[Weights], round_: int) -> Weights:
    """Return the global weights plus the clipped and noised mean update of the drawn sites."""
    updates = ([new - old for new, old in zip(after, weights, strict=True)] for after in trained)
    shapes = [w.shape for w in weights]
    mean = private_mean_update(updates, private.events[SERVER], shapes=shapes, seed=private.seed, round_=round_)
    return [(old + step).astype(old.dtype) for old, step in zip(weights, mean, strict=True)]


def _counted(run: Run, counts: dict[int, int], results: dict[int, Pass]) -> dict[int, int]:
    """Return the steps so far: rounds of the server where sites are protected, else each client's own steps."""
    if run.site_level:
        return {SERVER: counts.get(SERVER, 0) + 1}
    return counts | {client: counts.get(client, 0) + result.steps for client, result in results.items()}


def _mean(results: dict[int, Pass], clients: tuple[Indices, ...]) -> Pass:
    """Return loss and accuracy of the last local epoch over all drawn scans."""
    if not results:
        return Pass(loss=0.0, accuracy=0.0, steps=0)
    sizes = [len(clients[c]) for c in results]
    loss, accuracy = np.average(np.array([(r.loss, r.accuracy) for r in results.values()]), axis=0, weights=sizes)
    return Pass(loss=float(loss), accuracy=float(accuracy), steps=sum(r.steps for r in results.values()))


def _own_randomness(run: Run, client: int) -> tuple[int, int]:
    """Return what a client's batches and random layers are drawn from.

    Where sites are protected, it is the secret and the site's name: a number would change with the sites before it.
    """
    if run.private is None or not run.site_level:
        return run.config.seed, client
    digest = hashlib.sha256(run.cohort.meta.site_names[client].encode()).digest()
    return run.private.seed, int.from_bytes(digest[:8], "big")


def _train_client(run: Run, weights: Weights, members: Indices, client: int, round_: int, counter: Progress) -> Pass:
    """Train a client from the global weights; the learner holds its weights afterwards."""
    config, (seed, number) = run.config, _own_randomness(run, client)
    run.learner.start(weights, layer_generator(seed, number, round_))
    steps = 0
    for epoch in range(config.local_epochs):
        place = Place(client=client, round_=round_, epoch=epoch)
        result = run.learner.train_epoch(
            run.pool,
            members,
            view=round_ * config.local_epochs + epoch,
            generator=batch_generator(seed, number, round_, epoch),
            advance=counter.advance,
            where=f"client site-{client:02d} in round {round_ + 1}",
            place=place,
        )
        steps += result.steps
    return result._replace(steps=steps)


def weighted_average(models: Iterable[Sequence[Array]], sizes: Sequence[float]) -> list[Array]:
    """Return the average of models' weights, each counted by its size (FedAvg, arXiv:1602.05629, algorithm 1).

    Sums in float64 and one model at a time, so that ``models`` may be a generator and memory holds one of them.
    The average of one model is that model, bit for bit.

    Raises:
        TrainingError: sizes are negative or sum to 0, or models and sizes do not match.
    """
    shares = np.asarray(sizes, dtype=np.float64)
    if not len(shares) or shares.min() < 0 or not 0 < shares.sum() < np.inf:
        raise TrainingError(f"client sizes are {list(sizes)}; they must not be negative and must sum above 0")
    shares = shares / shares.sum()
    sums: list[FloatArray] = []
    dtypes: list[np.dtype[Any]] = []
    counted = 0
    for weights in models:
        shapes = [np.shape(w) for w in weights]
        if counted == len(shares) or (sums and shapes != [s.shape for s in sums]):
            raise TrainingError(
                f"client {counted}: its weights {shapes} do not match the others'; train one architecture"
            )
        if not sums:
            dtypes = [w.dtype for w in weights]
            sums = [np.zeros(shape) for shape in shapes]
        for total, array in zip(sums, weights, strict=True):
            total += shares[counted] * array
        counted += 1
    if counted != len(shares):
        raise TrainingError(f"{counted} clients' weights for {len(shares)} sizes; give one size a client")
    return [total.astype(dtype) for total, dtype in zip(sums, dtypes, strict=True)]
