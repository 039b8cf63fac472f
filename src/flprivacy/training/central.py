"""Central training (collaborative data sharing): one model on all sites' scans together."""

import numpy as np

from flprivacy.core.progress import Progress, progress
from flprivacy.training.batches import steps_per_epoch
from flprivacy.training.checkpoint import Checkpoint
from flprivacy.training.draws import batch_generator, layer_generator
from flprivacy.training.pool import Indices
from flprivacy.training.topology import Run, TrainedModel


def train_central(run: Run) -> list[TrainedModel]:
    """Return the one model, trained for ``config.epochs`` passes over the whole pool."""
    everyone = np.arange(len(run.pool.labels))
    steps = run.config.epochs * steps_per_epoch(len(everyone), run.config.batch_size)
    with progress(f"training {run.name}", steps) as counter:
        return [train_alone(run, model="model", number=0, members=everyone, counter=counter)]


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
    done, history = (saved.done, saved.history) if saved else (0, [])
    if saved and done == config.epochs:
        counter.resume(counter.done + done * steps_per_epoch(len(members), config.batch_size))
        return TrainedModel(name=model, weights=saved.arrays, members=members, history=history)
    if saved:
        learner.restore(saved.arrays)
        counter.resume(counter.done + done * steps_per_epoch(len(members), config.batch_size))
    else:
        learner.start(run.initial_weights(number), layer_generator(config.seed, number, 0))
    for epoch in range(done, config.epochs):
        generator = batch_generator(config.seed, number, 0, epoch)
        result = learner.train_epoch(
            run.pool, members, view=epoch, generator=generator, advance=counter.advance, where=model
        )
        history = [*history, {"epoch": epoch + 1, "loss": result.loss, "accuracy": result.accuracy}]
        arrays = learner.state() if epoch + 1 < config.epochs else learner.weights()
        run.checkpoints.save(model, Checkpoint(done=epoch + 1, arrays=arrays, history=history))
    return TrainedModel(name=model, weights=learner.weights(), members=members, history=history)
