"""A generator that is trained on all scans in one place."""

import numpy as np

from flprivacy.core.progress import progress
from flprivacy.synthesis.augmentation import draw
from flprivacy.synthesis.draws import DISCRIMINATOR, GENERATOR, batch, step_generator
from flprivacy.synthesis.run import GeneratorRun, TrainedGenerator
from flprivacy.training.checkpoint import Checkpoint

_MODEL = "generator"


def train_central(run: GeneratorRun) -> TrainedGenerator:
    """Return the networks after ``config.steps`` updates, or carry on from their checkpoint."""
    config, networks = run.config, run.adversaries
    saved = run.checkpoints.load(_MODEL)
    done, history = (saved.done, saved.history) if saved else (0, [])
    if saved:
        networks.restore(saved.arrays)
    else:
        networks.start(networks.initial(config.seed))
    with progress("training the generator", config.steps) as counter:
        if done:
            counter.resume(done)
        while done < config.steps:
            end = min(done + config.checkpoint_every, config.steps)
            for step in range(done, end):
                _update(run, step)
                counter.advance()
            done = end
            run.checkpoints.save(_MODEL, Checkpoint(done=done, arrays=networks.state(), history=history))
    return TrainedGenerator(weights=networks.weights(), history=history)


def _update(run: GeneratorRun, step: int) -> None:
    config, networks, shape = run.config, run.adversaries, run.cohort.meta.shape
    n, size = len(run.conditions), config.batch_size
    for number in range(step * config.discriminator_steps, (step + 1) * config.discriminator_steps):
        rng = step_generator(config.seed, DISCRIMINATOR, 0, 0, number)
        real = batch(n, size, number, seed=config.seed)
        encoded = run.categories.encode(run.conditions.take(np.concatenate([real, rng.integers(n, size=size)])))
        networks.update_discriminator(
            run.real(real),
            encoded[:size],
            rng.standard_normal((size, config.latent), dtype=np.float32),
            encoded[size:],
            draw(config.augment, 2 * size, shape, rng),
            penalise=config.r1_weight > 0.0 and number % config.r1_every == 0,
        )
    rng = step_generator(config.seed, GENERATOR, 0, 0, step)
    networks.update_generator(
        rng.standard_normal((size, config.latent), dtype=np.float32),
        run.categories.encode(run.conditions.take(rng.integers(n, size=size))),
        draw(config.augment, size, shape, rng),
    )
