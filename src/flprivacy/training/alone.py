"""Topologies whose models learn nothing from each other: central (all scans), siloed (a site's), untrained (none)."""

from dataclasses import replace

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
    everyone = run.real if run.members is None else run.members
    (scans,) = run.trained_on((everyone,))
    steps = run.epochs * run.learner.steps(len(scans), 0)
    with progress(f"training {run.name}", steps) as counter:
        trained = train_alone(run, model="model", number=0, scans=scans, counter=counter)
    return [replace(trained, members=everyone)]


def train_siloed(run: Run) -> list[TrainedModel]:
    """Return a model per site, ``site-00`` first, each from fresh weights and untouched by what other sites hold.

    Raises:
        TrainingError: a site has no training scan, or a loss is no longer finite.
    """
    sites = natural_partition(run.cohort)
    held = run.trained_on(sites)
    steps = run.epochs * sum(run.learner.steps(len(s), number) for number, s in enumerate(held))
    with progress(f"training {run.name}", steps) as counter:
        trained = [
            train_alone(run, model=f"site-{number:02d}", number=number, scans=scans, counter=counter)
            for number, scans in enumerate(held)
        ]
    return [replace(one, members=members) for one, members in zip(trained, sites, strict=True)]


def train_alone(run: Run, *, model: str, number: int, scans: Indices, counter: Progress) -> TrainedModel:
    """Train one model on its own scans (indices into the pool) from fresh weights, or carry on from its checkpoint.

    With the seed, ``number`` draws weights, batches and random layers.

    Raises:
        TrainingError: the loss or the weights are no longer finite.
    """
    config, learner = run.config, run.learner
    saved = run.checkpoints.load(model)
    done, arrays, history, steps = (saved.done, saved.arrays, saved.history, saved.steps) if saved else (0, [], [], {})
    if saved:
        counter.resume(counter.done + done * learner.steps(len(scans), number))
    else:
        learner.start(run.initial_weights(number), layer_generator(config.seed, number, 0))
    if 0 < done < run.epochs:
        learner.restore(arrays)
    for epoch in range(done, run.epochs):
        place = Place(client=number, epoch=epoch)
        result = learner.train_epoch(
            run.pool,
            scans,
            view=epoch,
            generator=batch_generator(config.seed, *place),
            advance=counter.advance,
            where=model,
            place=place,
        )
        history = [*history, run.entry({"epoch": epoch + 1}, result)]
        steps = {number: steps.get(number, 0) + result.steps}
        arrays = learner.state() if epoch + 1 < run.epochs else [*learner.weights(), *learner.memory()]
        run.checkpoints.save(model, Checkpoint(done=epoch + 1, arrays=arrays, history=history, steps=steps))
    weights, memory = arrays[: (size := len(learner.weights()))], arrays[size:]
    return TrainedModel(name=model, weights=weights, members=scans, history=history, steps=steps, memory=memory)
