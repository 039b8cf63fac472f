"""The plain method: categorical cross-entropy, Adam, shuffled batches."""

import keras

from flprivacy.training.batches import Batch, shuffled_batches
from flprivacy.training.config import TargetConfig
from flprivacy.training.method import FloatArray, Method, Step, StepResult


def compile_adam(model: keras.Model, config: TargetConfig) -> Step:
    """Compile a model for Adam (arXiv:1412.6980) on the mean cross-entropy of each batch."""
    return compile_step(model, keras.optimizers.Adam(learning_rate=config.learning_rate))


def compile_step(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> Step:
    """Compile a model for an optimizer on the mean cross-entropy of a batch's scans.

    The mean is over the sum of the weights, so that filling of weight 0 changes neither loss nor gradient.
    """
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.CategoricalCrossentropy(reduction="mean_with_sample_weight"),
        weighted_metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        jit_compile=_compiler(),
    )
    optimizer.build(model.trainable_variables)

    def run(volumes: FloatArray, classes: FloatArray, batch: Batch) -> StepResult:
        logs = model.train_on_batch(volumes, classes, sample_weight=batch.weights, return_dict=True)
        return StepResult(loss=float(logs["loss"]), accuracy=float(logs["accuracy"]))

    return Step(run=run, optimizer=optimizer)


def _compiler() -> str | bool:
    """XLA gains nothing for TensorFlow on a CPU and takes long to compile 3D convolutions."""
    # Asked for "gpu" by name, JAX raises where there is none.
    on_cpu = not any(name.startswith(("gpu", "cuda")) for name in keras.distribution.list_devices())
    return False if keras.backend.backend() == "tensorflow" and on_cpu else "auto"


ADAM = Method(name="adam", compile=compile_adam, batches=shuffled_batches)
