"""A training method: how a client's scans become updates of its weights. The plain one is Adam on shuffled batches.

Batches have one fixed size, so that the step is traced once for every client, however small. The last batch of an epoch
is filled up with repeats of the same client's scans at weight 0. With a loss divided by the sum of the weights, its
gradient is exactly that of the real scans for every network that treats scans apart (GroupNorm, LayerNorm). Under
BatchNorm the repeats enter the batch's statistics, which a last batch of one or two scans needs anyway.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import keras
import numpy as np
import numpy.typing as npt

from flprivacy.core.array_types import Float32Array, IntArray
from flprivacy.training.config import TargetConfig
from flprivacy.training.draws import Place

Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """One step's scans: (batch,) positions in the client's scans, in [0, n), and float32 loss weights.

    A scan of this step weighs 1, filling 0.
    """

    indices: IntArray
    weights: Float32Array


def shuffled_batches(
    n: int, batch_size: int, generator: np.random.Generator, place: Place | None = None
) -> Iterator[Batch]:
    """Yield ``ceil(n / batch_size)`` batches that take each of ``n`` scans once, in a random order.

    Filling wraps around to the start of the order, several times over where a client is smaller than a batch.
    ``place``, which other methods draw from, is not needed here.
    """
    order = generator.permutation(n)
    for start in range(0, n, batch_size):
        real = order[start : start + batch_size]
        filling = np.resize(order, batch_size - len(real))
        weights = np.zeros(batch_size, dtype=np.float32)
        weights[: len(real)] = 1.0
        yield Batch(indices=np.concatenate([real, filling]), weights=weights)


def steps_per_epoch(n: int, batch_size: int, client: int = 0) -> int:
    """Return the number of optimisation steps in one pass over ``n`` scans, the same for every client."""
    return -(-n // batch_size)


class StepResult(NamedTuple):
    """Loss and accuracy of one step's scans before the update, weighted by the loss weights."""

    loss: float
    accuracy: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """A compiled optimisation step on one model.

    Attributes:
        run: (volumes (batch, depth, height, width, 1), classes (batch, class) one-hot, the batch, (batch,) key of
            each scan) -> result; updates the model in place. Called with one batch size only. None: the step goes on
            with the next batch.
        optimizer: built; whatever it remembers between steps is in its variables.
        memory: what else the step remembers; kept with checkpoints, and with the model when it is trained.
    """

    run: Callable[[Float32Array, Float32Array, Batch, Keys], StepResult | None]
    optimizer: keras.optimizers.Optimizer
    memory: list[keras.Variable] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way of training.

    Attributes:
        name: tells it from others in checkpoints; names every choice that changes the result.
        batches: (number of scans, batch size, generator, place) -> the batches of one epoch.
        steps: (number of scans, batch size, client) -> optimisation steps of one epoch.
        keeps_losses: whether losses may be kept with the model; those of private training tell about its scans.
    """

    name: str
    compile: Callable[[keras.Model, TargetConfig], Step]
    batches: Callable[[int, int, np.random.Generator, Place], Iterator[Batch]]
    steps: Callable[[int, int, int], int] = steps_per_epoch
    keeps_losses: bool = True


def compile_adam(model: keras.Model, config: TargetConfig) -> Step:
    """Compile a model for Adam (arXiv:1412.6980) on the mean cross-entropy of each batch."""
    return compile_step(model, keras.optimizers.Adam(learning_rate=config.learning_rate))


def compile_step(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> Step:
    """Compile a model for an optimizer on the mean cross-entropy of a batch's scans, over the sum of the weights."""
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.CategoricalCrossentropy(reduction="mean_with_sample_weight"),
        weighted_metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        jit_compile=_compiler(),
    )
    optimizer.build(model.trainable_variables)

    def run(volumes: Float32Array, classes: Float32Array, batch: Batch, keys: Keys) -> StepResult:
        del keys  # random layers draw from the network's own state
        logs = model.train_on_batch(volumes, classes, sample_weight=batch.weights, return_dict=True)
        return StepResult(loss=float(logs["loss"]), accuracy=float(logs["accuracy"]))

    return Step(run=run, optimizer=optimizer)


def _compiler() -> str | bool:
    """XLA gains nothing for TensorFlow on a CPU and takes long to compile 3D convolutions."""
    # Asked for "gpu" by name, JAX raises where there is none.
    on_cpu = not any(name.startswith(("gpu", "cuda")) for name in keras.distribution.list_devices())
    return False if keras.backend.backend() == "tensorflow" and on_cpu else "auto"


ADAM = Method(name="adam", compile=compile_adam, batches=shuffled_batches)
