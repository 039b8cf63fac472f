"""Updates on one client's scans: all of them in central training, a site's in federated."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from flprivacy.core.array_types import Float32Array
from flprivacy.core.progress import Progress
from flprivacy.synthesis.augmentation import draw
from flprivacy.synthesis.conditions import Conditions
from flprivacy.synthesis.draws import DISCRIMINATOR, GENERATOR, Noise, batch, draw_noise, step_generator
from flprivacy.synthesis.health import Answers, check_update
from flprivacy.synthesis.private import PrivateDiscriminator
from flprivacy.synthesis.run import GeneratorRun
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
    asked = _asked_ahead(run, client, steps)
    for step in steps:
        for number in range(step * every, (step + 1) * every):
            if run.private is not None:
                _update_privately(run, run.private, client, number, *next(asked))
            else:
                answers.append(_update_discriminator(run, client, number, *next(asked)))
                check_update(answers[-1], run.config, where=client.where)
        loss = _update_generator(run, client, step, *next(asked))
        check_update([loss], run.config, where=client.where)
        counter.advance()
    return answers


def _asked_ahead(run: GeneratorRun, client: Client, steps: range) -> Iterator[tuple[Noise, Float32Array]]:
    """Yield what :func:`_asked` draws for each update in order, the next while an update is done.

    Drawing noise for every voxel takes one core about half as long as an update takes.
    """
    every = run.config.discriminator_steps
    updates = [
        place
        for step in steps
        for place in (*((DISCRIMINATOR, step * every + one) for one in range(every)), (GENERATOR, step))
    ]
    with ThreadPoolExecutor(1) as aside:
        coming = aside.submit(_asked, run, client, *updates[0])
        for place in updates[1:]:
            drawn, coming = coming.result(), aside.submit(_asked, run, client, *place)
            yield drawn
        yield coming.result()


def _asked(run: GeneratorRun, client: Client, network: int, number: int) -> tuple[Noise, Float32Array]:
    """Draw noise and encoded conditions of the scans that an update generates."""
    rng = step_generator(run.config.seed, network, client.number, number)
    private = run.private if network == DISCRIMINATOR else None
    n = run.config.batch_size if private is None else private.made_per_update(client.number)
    noise = draw_noise(n, run.config.latent, run.cohort.meta.shape, rng)
    return noise, run.categories.encode(_conditions(run, client, n, rng))


def _conditions(run: GeneratorRun, client: Client, n: int, rng: np.random.Generator) -> Conditions:
    """Draw conditions of generated scans: as often as among the client's own; each equally often in private training.

    How often they occur among the scans is nothing that private training may look at.
    """
    if run.private is not None:
        return run.categories.uniform(n, rng, site=client.site)
    return run.conditions.take(rng.choice(client.scans, size=n))


def _update_discriminator(run: GeneratorRun, client: Client, number: int, noise: Noise, asked: Float32Array) -> Answers:
    config = run.config
    places = batch(len(client.scans), config.batch_size, number, seed=config.seed, client=client.number)
    real = client.scans[places]
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


def _update_privately(
    run: GeneratorRun, private: PrivateDiscriminator, client: Client, number: int, noise: Noise, asked: Float32Array
) -> None:
    def real(places: Indices) -> tuple[Float32Array, Float32Array]:
        scans = client.scans[places]
        return run.real(scans), run.categories.encode(run.conditions.take(scans))

    private.update(client.number, number, real, run.adversaries.generate(noise, asked), asked)


def _update_generator(run: GeneratorRun, client: Client, step: int, noise: Noise, asked: Float32Array) -> float:
    rng = step_generator(run.config.seed, GENERATOR, client.number, step, 1)
    augment = () if run.private is not None else run.config.augment
    return run.adversaries.update_generator(
        noise, asked, draw(augment, run.config.batch_size, run.cohort.meta.shape, rng)
    )
