"""A generator that is trained on all scans in one place; or by sites together, each on its own scans, and a server
averages generator and discriminator.
"""

from collections.abc import Iterator

import numpy as np

from flprivacy.core.array_types import Array, Float32Array
from flprivacy.core.errors import TrainingError
from flprivacy.core.progress import Progress, progress
from flprivacy.synthesis.health import Answers, check_balance, check_variety
from flprivacy.synthesis.local import Client, train
from flprivacy.synthesis.run import GeneratorRun, TrainedGenerator
from flprivacy.synthesis.sample import write_picture
from flprivacy.training.checkpoint import Checkpoint
from flprivacy.training.federated import weighted_average
from flprivacy.training.pool import natural_partition

MODEL = "generator"


def train_central(run: GeneratorRun) -> TrainedGenerator:
    """Return the networks after ``config.steps`` updates, or carry on from their checkpoint.

    Raises:
        TrainingError: training diverged or collapsed; the last good checkpoint is kept.
    """
    config, networks = run.config, run.adversaries
    saved = run.checkpoints.load(MODEL)
    done, history = (saved.done, saved.history) if saved else (0, [])
    if saved:
        networks.restore(saved.arrays)
    else:
        networks.start(networks.initial(config.seed))
    everybody = Client(number=0, scans=np.arange(len(run.conditions)))
    with progress("training the generator", config.steps) as counter:
        if done:
            counter.resume(done)
        while done < config.steps:
            end = min(done + config.checkpoint_every, config.steps)
            answers = train(run, everybody, range(done, end), counter)
            done = end
            history = [*history, look(run, answers, f"update {done}", {"step": done})]
            write_picture(run.samples / f"step-{done:06d}.png", networks.published(done), run.categories)
            steps = {} if run.private is None else {0: done * config.discriminator_steps}
            arrays = networks.state()
            run.checkpoints.save(MODEL, Checkpoint(done=done, arrays=arrays, history=history, steps=steps))
    steps = {} if run.private is None else {0: done * config.discriminator_steps}
    return TrainedGenerator(weights=networks.weights(), updates=done, history=history, steps=steps)


def look(run: GeneratorRun, answers: list[Answers], where: str, facts: dict[str, float]) -> dict[str, float]:
    """Return an entry of the history, or refuse to go on. The discriminator's answers to private scans are no part.

    Raises:
        TrainingError: training collapsed.
    """
    where = f"training the generator, {where}"
    check_balance(answers, where=where)
    entry = facts | {"spread": check_variety(run, where=where)}
    if not answers:
        return entry
    real, made, loss = np.mean(answers, axis=0).tolist()
    return entry | {"real": real, "made": made, "loss": loss}


def train_federated(run: GeneratorRun) -> TrainedGenerator:
    """Return the averaged networks after ``config.rounds`` rounds, or carry on from their checkpoint.

    In each round every site starts from the server's networks with fresh optimizers and does ``config.local_steps``
    updates; the server averages all weights by the sites' numbers of scans, or where training is private by those of
    units that everybody may know. The rows that belong to one site or class alone are averaged by the numbers of its
    scans, so that they move as far as where it is: a site's by that site alone.

    Raises:
        TrainingError: a site has no training scan, or training diverged or collapsed; the last good checkpoint is kept.
    """
    config, networks = run.config, run.adversaries
    clients = sites_of(run)
    saved = run.checkpoints.load(MODEL)
    done, history = (saved.done, saved.history) if saved else (0, [])
    weights = saved.arrays if saved else networks.initial(config.seed)
    each = len(clients) * config.local_steps
    with progress("training the generator", config.rounds * each) as counter:
        if done:
            counter.resume(done * each)
        for round_ in range(done, config.rounds):
            answers: list[Answers] = []
            trained = _trained(run, clients, weights, round_, counter, answers)
            weights = weighted_average(_rows_weighted(run, clients, trained), _shares(run, clients))
            networks.start(weights)
            history = [*history, look(run, answers, f"round {round_ + 1}", {"round": round_ + 1})]
            shown = networks.published((round_ + 1) * config.local_steps)
            write_picture(run.samples / f"round-{round_ + 1:04d}.png", shown, run.categories)
            steps = _steps(run, clients, round_ + 1)
            run.checkpoints.save(MODEL, Checkpoint(done=round_ + 1, arrays=weights, history=history, steps=steps))
    steps = _steps(run, clients, config.rounds)
    return TrainedGenerator(weights=weights, updates=config.rounds * config.local_steps, history=history, steps=steps)


def sites_of(run: GeneratorRun) -> list[Client]:
    """Return the sites as clients; TrainingError where one has no training scan."""
    return [Client(number=n, scans=part, site=n) for n, part in enumerate(natural_partition(run.cohort))]


def _shares(run: GeneratorRun, clients: list[Client]) -> list[int]:
    """Return what each client counts: its scans, or in private training its public number of units.

    By numbers of scans the spread of the average's noise would tell one patient with many.
    """
    return [run.private.units(c.number) if run.private else len(c.scans) for c in clients]


def _row_shares(run: GeneratorRun, clients: list[Client]) -> Float32Array:
    """Return (client, category) what each client's row of a category counts, over what the client counts itself.

    Where training is private, which sites there are is all that is looked at.
    """
    shares = np.array(_shares(run, clients), dtype=np.float64)[:, None]
    ends = np.cumsum(run.categories.counts)
    counts = np.repeat(shares, run.categories.width, axis=1)
    for number, client in enumerate(clients):
        encoded = run.categories.encode(run.conditions.take(client.scans))
        for name, start, end in zip(run.categories.names, ends - run.categories.counts, ends, strict=True):
            if name == "site" or run.private is None:
                counts[number, start:end] = encoded[:, start:end].sum(axis=0)
    counts = np.where(counts.sum(axis=0) > 0, counts, shares)  # a category that nobody has
    factors: Float32Array = (counts / counts.sum(axis=0)) / (shares / shares.sum())
    return factors


def _rows_weighted(run: GeneratorRun, clients: list[Client], trained: Iterator[list[Array]]) -> Iterator[list[Array]]:
    """Scale the rows of categories so that an average by what clients count weighs them by who has them."""
    owned, factors = run.adversaries.by_condition, _row_shares(run, clients)
    for factor, weights in zip(factors, trained, strict=True):
        yield [(w * factor[:, None]).astype(w.dtype) if by_row else w for w, by_row in zip(weights, owned, strict=True)]


def _trained(
    run: GeneratorRun,
    clients: list[Client],
    weights: list[Array],
    round_: int,
    counter: Progress,
    answers: list[Answers],
) -> Iterator[list[Array]]:
    """Yield each site's weights after its updates of a round, and gather what its discriminator answered."""
    steps = range(round_ * run.config.local_steps, (round_ + 1) * run.config.local_steps)
    for client in clients:
        run.adversaries.start(weights)
        try:
            answers += train(run, client, steps, counter)
        except TrainingError as error:
            raise TrainingError(f"round {round_ + 1}: {error}") from error
        yield run.adversaries.weights()


def _steps(run: GeneratorRun, clients: list[Client], rounds: int) -> dict[int, int]:
    """Return client -> private steps done on its scans."""
    each = rounds * run.config.local_steps * run.config.discriminator_steps
    return {} if run.private is None else {client.number: each for client in clients}
