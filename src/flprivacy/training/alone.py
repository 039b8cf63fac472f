"""Topologies whose models learn nothing from each other: central (all scans), siloed (a site's), untrained (none)."""

import numpy as np

from flprivacy.core.progress import Progress, progress, track
from flprivacy.training.checkpoint import Checkpoint
from flprivacy.training.draws import Place, batch_generator, layer_generator
from flprivacy.training.pool import Indices, natural_partition
from flprivacy.training.topology import Run, TrainedModel


def initialise_untrained(run: Run) -> list[TrainedModel]:
    """Return ``config.initialisations`` models of fresh weights, independent of each other and of every target."""
    nobody = np.empty(0, dtype=np.int64)
    return [
        TrainedModel(name=f"init-{number}", weights=run.initial_weights(number), members=nobody, history=[])
        for number in track(range(run.config.initialisations), f"initialising {run.name}")
    ]


def train_central(run: Run) -> list[TrainedModel]:
    """Return the one model, trained for ``config.epochs`` passes over the whole pool."""
    everyone = np.arange(len(run.pool.labels)) if run.members is None else run.members
    steps = run.epochs * run.learner.steps(len(everyone), 0)
    with progress(f"training {run.name}", steps) as counter:
        return [train_alone(run, model="model", number=0, members=everyone, counter=counter)]


def train_siloed(run: Run) -> list[TrainedModel]:
    """Return a model per site, ``site-00`` first, each from fresh weights of its own.

    A site's model does not depend on the other sites: neither on how many there are nor on what they hold.

    Raises:
        TrainingError: a site has no training scan, or a loss is no longer finite.
    """
    sites = natural_partition(run.cohort)
    steps = run.epochs * sum(run.learner.steps(len(s), number) for number, s in enumerate(sites))
    with progress(f"training {run.name}", steps) as counter:
        return [
            train_alone(run, model=f"site-{number:02d}", number=number, members=members, counter=counter)
            for number, members in enumerate(sites)
        ]


def train_alone(run: Run, *, model: str, number: int, members: Indices, counter: Progress) -> TrainedModel:
    """Train one model on its own scans from fresh weights, or carry on from its checkpoint.

    Args:
        run: the training run.
        model: name of the model, of its checkpoint too.
        number: number of the model; with the seed it draws weights, batches and random layers.
        members: indices into the pool.
        counter: counts optimisation steps.

    Raises:
        TrainingError: the loss or the weights are no longer finite.
    """
    config, learner = run.config, run.learner
    saved = run.checkpoints.load(model)
    done, history, steps = (saved.done, saved.history, saved.steps.get(number, 0)) if saved else (0, [], 0)
    if saved:
        counter.resume(counter.done + done * learner.steps(len(members), number))
    if saved and done == run.epochs:
        size = len(learner.weights())
        weights, memory = saved.arrays[:size], saved.arrays[size:]
        return TrainedModel(
            name=model, weights=weights, members=members, history=history, steps={number: steps}, memory=memory
        )
    if saved:
        learner.restore(saved.arrays)
    else:
        learner.start(run.initial_weights(number), layer_generator(config.seed, number, 0))
    for epoch in range(done, run.epochs):
        place = Place(client=number, epoch=epoch)
        result = learner.train_epoch(
            run.pool,
            members,
            view=epoch,
            generator=batch_generator(config.seed, *place),
            advance=counter.advance,
            where=model,
            place=place,
        )
        history = [*history, run.entry({"epoch": epoch + 1}, result)]
        steps += result.steps
        arrays = learner.state() if epoch + 1 < run.epochs else [*learner.weights(), *learner.memory()]
        run.checkpoints.save(model, Checkpoint(done=epoch + 1, arrays=arrays, history=history, steps={number: steps}))
    return TrainedModel(
        name=model,
        weights=learner.weights(),
        members=members,
        history=history,
        steps={number: steps},
        memory=learner.memory(),
    )
