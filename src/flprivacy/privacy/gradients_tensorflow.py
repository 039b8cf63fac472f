"""The streaming loop on TensorFlow: one compiled function, one scan at a time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from flprivacy.privacy.events import PATIENT

if TYPE_CHECKING:
    from flprivacy.privacy.gradients import DpSgdConfig

FloatArray = npt.NDArray[np.float32]
Tensor = Any

N_TOTALS = 6


class TensorFlowAccumulator:
    """Sums, totals and the compiled function of one model; see :class:`flprivacy.privacy.gradients.Accumulator`.

    The sums live in variables from step to step: nothing is allocated in the loop but one scan's activations and
    gradient. XLA is left off: on a CPU it gains nothing and takes minutes to compile 3D convolutions.
    """

    def __init__(self, model: keras.Model, optimizer: keras.optimizers.Optimizer, config: "DpSgdConfig") -> None:
        """Make the variables; the function is traced at its first call."""
        self._model = model
        self._optimizer = optimizer
        self._config = config
        self._trainable = [v.value for v in model.trainable_variables]
        self._sums = _zeros(self._trainable)
        # Where a patient's scans gather until the last of them. A unit of one scan needs no such place.
        self._unit = _zeros(self._trainable) if config.unit == PATIENT else []
        self._totals = tf.Variable(tf.zeros(N_TOTALS), trainable=False)
        self._no_seeds = np.zeros((len(self._sums), 2), dtype=np.int32)
        self._compiled = tf.function(self._run, jit_compile=False, autograph=False)

    def add(self, x: Any, y: Any, mask: FloatArray, ends: FloatArray) -> None:
        """Add a chunk's clipped gradients to the sum."""
        self._call(x, y, mask, ends, self._no_seeds, last=False)

    def add_and_apply(
        self, x: Any, y: Any, mask: FloatArray, ends: FloatArray, seeds: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.float64]:
        """Add a chunk, then noise, update the model unless a gradient was not finite, and return the totals."""
        self._call(x, y, mask, ends, seeds, last=True)
        return np.asarray(self._totals.numpy(), dtype=np.float64)

    def sums(self) -> list[FloatArray]:
        """Return a copy of the running sum, one array a trainable tensor."""
        return [np.array(s.numpy()) for s in self._sums]

    def contribute(self, gradients: Sequence[npt.NDArray[Any]]) -> None:
        """Add arrays to the running sum as they are."""
        for total, gradient in zip(self._sums, gradients, strict=True):
            total.assign_add(gradient)

    def reset(self) -> None:
        """Set sum and totals to zero."""
        for variable in (*self._sums, *self._unit, self._totals):
            variable.assign(tf.zeros_like(variable))

    def _call(
        self, x: Any, y: Any, mask: FloatArray, ends: FloatArray, seeds: npt.NDArray[np.int32], *, last: bool
    ) -> None:
        positions = np.flatnonzero(mask).astype(np.int32)
        order = np.zeros(len(mask), dtype=np.int32)
        order[: len(positions)] = positions
        tensors = [tf.convert_to_tensor(a, tf.float32) for a in (x, y, ends)]
        self._compiled(*tensors, order, np.int32(len(positions)), seeds, tf.constant(last))

    def _run(
        self, x: Tensor, y: Tensor, ends: Tensor, order: Tensor, count: Tensor, seeds: Tensor, last: Tensor
    ) -> None:
        """Loop over the drawn scans, then noise and update if ``last``. One trace for any number of drawn scans."""

        def body(i: Tensor) -> tuple[Tensor]:
            self._add_scan(x, y, ends, order[i])
            return (i + 1,)

        tf.while_loop(lambda i: i < count, body, (tf.constant(0),), parallel_iterations=1)
        whole = tf.logical_and(last, tf.equal(self._totals[5], 0.0))
        tf.cond(whole, lambda: self._apply(seeds), lambda: tf.constant(0))

    def _add_scan(self, x: Tensor, y: Tensor, ends: Tensor, position: Tensor) -> None:
        loss, correct, gradient = self._gradient(x[position : position + 1], y[position : position + 1])
        unit = [held + part for held, part in zip(self._unit, gradient, strict=True)] if self._unit else gradient
        end = ends[position]
        norm = tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(part)) for part in unit]))
        finite = tf.math.is_finite(norm)
        clip = tf.minimum(1.0, self._config.clip_norm / tf.maximum(norm, 1e-30))
        scale = tf.where(finite, clip, 0.0) * end
        for total, part in zip(self._sums, unit, strict=True):
            total.assign_add(tf.math.multiply_no_nan(part, scale))
        for held, part in zip(self._unit, unit if self._unit else [], strict=True):
            held.assign(tf.math.multiply_no_nan(part, 1.0 - end))
        clipped = tf.cast(norm > self._config.clip_norm, tf.float32) * end
        broken = (1.0 - tf.cast(finite, tf.float32)) * end
        self._totals.assign_add(tf.stack([loss, correct, 1.0, end, clipped, broken]))

    def _gradient(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return loss, whether the scan is classified correctly (0 or 1), and the gradient in float32."""
        scale = self._config.loss_scale
        with tf.GradientTape() as tape:
            probabilities = self._model(x, training=True)
            loss = tf.cast(keras.losses.categorical_crossentropy(y, probabilities)[0], tf.float32)
            scaled = loss * scale
        gradient = tape.gradient(scaled, self._trainable, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        dense = [tf.cast(tf.convert_to_tensor(part), tf.float32) / scale for part in gradient]
        correct = tf.cast(tf.equal(tf.argmax(probabilities[0]), tf.argmax(y[0])), tf.float32)
        return loss, correct, dense

    def _apply(self, seeds: Tensor) -> Tensor:
        """Add the step's noise, divide by the expected batch and update the model."""
        deviation = self._config.clip_norm * self._config.noise_multiplier
        means = []
        for i, total in enumerate(self._sums):
            noise = tf.random.stateless_normal(total.shape, seeds[i], stddev=deviation)
            means.append(tf.cast((total + noise) / self._config.expected_batch, self._trainable[i].dtype))
        self._optimizer.apply(means, self._model.trainable_variables)
        return tf.constant(0)


def _zeros(variables: Sequence[Any]) -> list[Any]:
    return [tf.Variable(tf.zeros(v.shape, tf.float32), trainable=False) for v in variables]
