"""Updates on one client's scans: all of them in central training, a site's in federated."""

from dataclasses import dataclass

import numpy as np

from flprivacy.core.progress import Progress
from flprivacy.synthesis.augmentation import draw
from flprivacy.synthesis.conditions import Conditions
from flprivacy.synthesis.draws import DISCRIMINATOR, GENERATOR, Noise, batch, draw_noise, step_generator
from flprivacy.synthesis.health import Answers, check_update
from flprivacy.synthesis.private import PrivateDiscriminator
from flprivacy.synthesis.run import FloatArray, GeneratorRun
from flprivacy.training.pool import Indices


@dataclass(frozen=True, kw_only=True, eq=False)
class Client:
    """Who trains: its number, its scans as indices into the pool, and its site where it is one."""

    number: int
    scans: Indices
    site: int | None = None

    @property
    def where(self) -> str:
        """Who trains, for messages."""
        return "training the generator" if self.site is None else f"client site-{self.number:02d}"


def train(run: GeneratorRun, client: Client, steps: range, counter: Progress) -> list[Answers]:
    """Do some updates of the generator, each after its updates of the discriminator; return what those answered.

    Every draw is named by the client and the step's number, so that it does not matter where training was interrupted.
    Private updates answer nothing.

    Raises:
        TrainingError: a loss is no longer finite.
    """
    every = run.config.discriminator_steps
    answers: list[Answers] = []
    for step in steps:
        for number in range(step * every, (step + 1) * every):
            if run.private is not None:
                _update_privately(run, run.private, client, number)
            else:
                answers.append(_update_discriminator(run, client, number))
                check_update(answers[-1], run.config, where=client.where)
        loss = _update_generator(run, client, step)
        check_update([loss], run.config, where=client.where)
        counter.advance()
    return answers


def _asked(
    run: GeneratorRun, client: Client, network: int, number: int, n: int | None = None
) -> tuple[Noise, FloatArray]:
    """Draw noise and encoded conditions of n generated scans, a batch where None."""
    rng = step_generator(run.config.seed, network, client.number, number)
    n = n or run.config.batch_size
    noise = draw_noise(n, run.config.latent, run.cohort.meta.shape, rng)
    return noise, run.categories.encode(_conditions(run, client, n, rng))


def _conditions(run: GeneratorRun, client: Client, n: int, rng: np.random.Generator) -> Conditions:
    """Draw conditions of generated scans: as often as among the client's own; each equally often in private training.

    How often they occur among the scans is nothing that private training may look at.
    """
    if run.private is not None:
        return run.categories.uniform(n, rng, site=client.site)
    return run.conditions.take(rng.choice(client.scans, size=n))


def _update_discriminator(run: GeneratorRun, client: Client, number: int) -> Answers:
    config = run.config
    places = batch(len(client.scans), config.batch_size, number, seed=config.seed, client=client.number)
    real = client.scans[places]
    noise, asked = _asked(run, client, DISCRIMINATOR, number)
    rng = step_generator(config.seed, DISCRIMINATOR, client.number, number, 1)
    matching = run.categories.encode(run.conditions.take(real))
    found = run.adversaries.update_discriminator(
        run.real(real),
        matching,
        run.categories.mistaken(matching, rng, one_site=client.site is not None),
        noise,
        asked,
        draw(config.augment, 2 * config.batch_size, run.cohort.meta.shape, rng),
        penalise=config.r1_weight > 0.0 and number % config.r1_every == 0,
    )
    return Answers(*found)


def _update_privately(run: GeneratorRun, private: PrivateDiscriminator, client: Client, number: int) -> None:
    noise, asked = _asked(run, client, DISCRIMINATOR, number, private.made_per_update(client.number))

    def real(places: Indices) -> tuple[FloatArray, FloatArray]:
        scans = client.scans[places]
        return run.real(scans), run.categories.encode(run.conditions.take(scans))

    private.update(client.number, number, real, run.adversaries.generate(noise, asked), asked)


def _update_generator(run: GeneratorRun, client: Client, step: int) -> float:
    noise, asked = _asked(run, client, GENERATOR, step)
    rng = step_generator(run.config.seed, GENERATOR, client.number, step, 1)
    augment = () if run.private is not None else run.config.augment
    return run.adversaries.update_generator(
        noise, asked, draw(augment, run.config.batch_size, run.cohort.meta.shape, rng)
    )
