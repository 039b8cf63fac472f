"""A generator that is trained on all scans in one place."""

import numpy as np

from flprivacy.core.progress import progress
from flprivacy.synthesis.health import Answers, check_balance, check_variety
from flprivacy.synthesis.local import Client, train
from flprivacy.synthesis.run import GeneratorRun, TrainedGenerator
from flprivacy.synthesis.sample import write_picture
from flprivacy.training.checkpoint import Checkpoint

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
