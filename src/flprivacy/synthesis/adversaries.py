"""Generator and discriminator of one run: built, updated, kept and carried on from."""

from collections.abc import Sequence

import keras
import numpy as np

from flprivacy.core.array_types import Array, Float32Array
from flprivacy.core.errors import ConfigError, TrainingError
from flprivacy.models.initialisation import fresh_weights, undisturbed_random
from flprivacy.synthesis.augmentation import Draws
from flprivacy.synthesis.config import GeneratorConfig
from flprivacy.synthesis.draws import DISCRIMINATOR, GENERATOR, Noise, weights_seed
from flprivacy.synthesis.networks import NetworkSize, build_discriminator, build_generator

_MOMENTUM = (0.0, 0.99)


class Adversaries:
    """The two networks with their compiled updates, reused by every client so that nothing is traced twice."""

    def __init__(self, size: NetworkSize, config: GeneratorConfig) -> None:
        """Build and compile.

        Raises:
            ConfigError: Keras's backend is another than TensorFlow.
        """
        if keras.backend.backend() != "tensorflow":
            raise ConfigError(
                f"Keras's backend is {keras.backend.backend()!r}; training a generator needs tensorflow: set "
                "KERAS_BACKEND"
            )
        from flprivacy.synthesis.steps_tensorflow import Networks  # other backends do without it

        with undisturbed_random():
            self.generator, self._published = build_generator(size), build_generator(size)
            self.discriminator = build_discriminator(size)
        self._remembers = 0.5 ** (config.batch_size / config.ema_half_life_scans)
        self._networks = Networks(
            self.generator,
            self.discriminator,
            generator_optimizer=_adam(config.generator_learning_rate),
            discriminator_optimizer=_discriminator_optimizer(config),
            remembers=self._remembers,
            penalty=config.r1_weight * config.r1_every,
            mismatch=config.mismatch_weight,
        )
        networks = [*self.generator.weights, *self.discriminator.weights]
        self._n_weights, self._trained = len(networks), [*networks, *self._networks.sums]
        self._optimizers = [v for optimizer in self._networks.optimizers for v in optimizer.variables]
        self._fresh = [v.numpy() for v in self._optimizers]

    @property
    def discriminator_optimizer(self) -> keras.optimizers.Optimizer:
        """The discriminator's, which private training applies to noised gradients."""
        return self._networks.optimizers[1]

    def generate(self, noise: Noise, condition: Float32Array) -> Float32Array:
        """Return float32 (n, depth, height, width, 1) scans in [-1, 1] of the generator as it is trained."""
        return np.asarray(self._networks.generate(noise, condition))

    def initial(self, seed: int) -> list[Array]:
        """Return the weights that training starts from, of generator and discriminator, and the sums of none."""
        generator = fresh_weights(self.generator, weights_seed(seed, GENERATOR))
        discriminator = fresh_weights(self.discriminator, weights_seed(seed, DISCRIMINATOR))
        return [*generator, *discriminator, *map(np.zeros_like, generator)]

    def start(self, weights: Sequence[Array]) -> None:
        """Set the weights and forget what the optimizers remember."""
        self.restore([*weights, *self._fresh])

    def published(self, updates: int) -> keras.Model:
        """Return the generator to publish: of the running mean of the weights after so many updates of its own.

        The mean is the running sum over the shares that entered it, so that it knows nothing of the first weights.
        """
        entered = 1.0 - self._remembers**updates
        for weight, total in zip(self._published.weights, self._networks.sums, strict=True):
            weight.assign(total / entered)
        return self._published

    @property
    def by_condition(self) -> list[bool]:
        """Which of the weights have a row for each category of each condition, as :meth:`initial` orders them."""
        layers = {"condition_embedding", "projection"}
        owned = [v.name == "kernel" and v.path.split("/")[-2] in layers for v in self._trained[: self._n_weights]]
        return [*owned, *owned[: len(self.generator.weights)]]

    def weights(self) -> list[Array]:
        """Return a copy of the weights, as :meth:`initial` orders them."""
        return [v.numpy() for v in self._trained]

    def state(self) -> list[Array]:
        """Return a copy of everything that further training depends on."""
        return [v.numpy() for v in (*self._trained, *self._optimizers)]

    def restore(self, state: Sequence[Array]) -> None:
        """Set what :meth:`state` returned.

        Raises:
            TrainingError: the arrays are not those of these networks.
        """
        variables = [*self._trained, *self._optimizers]
        if [tuple(v.shape) for v in variables] != [np.shape(a) for a in state]:
            raise TrainingError("the checkpoint does not fit the networks; delete it and train again")
        for variable, value in zip(variables, state, strict=True):
            variable.assign(value)

    def update_discriminator(
        self,
        real: Float32Array,
        real_condition: Float32Array,
        mistaken: Float32Array,
        noise: Noise,
        condition: Float32Array,
        draws: Draws | None,
        *,
        penalise: bool,
    ) -> tuple[float, float, float]:
        """Update the discriminator; return mean logits of real and of generated scans, and its loss.

        Real scans come with their conditions and with mistaken ones, generated ones with what they were asked for.
        """
        found = self._networks.update_discriminator(
            real, real_condition, mistaken, noise, condition, draws, penalise=penalise
        )
        of_real, of_made, loss = found.numpy().tolist()
        return of_real, of_made, loss

    def update_generator(self, noise: Noise, condition: Float32Array, draws: Draws | None) -> float:
        """Update the generator and the running sums of its weights; return its loss."""
        return float(self._networks.update_generator(noise, condition, draws).numpy())


def _discriminator_optimizer(config: GeneratorConfig) -> keras.optimizers.Optimizer:
    if config.privacy is not None and config.privacy.optimizer == "sgd":
        return keras.optimizers.SGD(config.discriminator_learning_rate)
    return _adam(config.discriminator_learning_rate)


def _adam(learning_rate: float) -> keras.optimizers.Optimizer:
    first, second = _MOMENTUM
    return keras.optimizers.Adam(learning_rate, beta_1=first, beta_2=second)
