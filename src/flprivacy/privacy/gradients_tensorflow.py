"""The streaming loop on TensorFlow: a compiled function, a scan at a time on each core.

A convolution of one small scan is too little work to share among threads. So iterations of the loop overlap, as many as
there are cores: memory holds that many scans instead of a batch, and the sum is still added up in the order of the
scans, so that results do not depend on timing. Where the process has just one thread an operation
(:func:`one_thread_per_scan`), a step takes no longer than an ordinary one.
"""

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from flprivacy.core.tensorflow_environment import threads
from flprivacy.privacy.compatibility import is_random_state
from flprivacy.privacy.events import PATIENT

if TYPE_CHECKING:
    from flprivacy.privacy.config import DpSgdConfig

LOGGER = logging.getLogger(__name__)
FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Noise = npt.NDArray[np.float64]
Tensor = Any

N_TOTALS = 6
_MOST_SCANS_AT_ONCE = 8


def one_thread_per_scan() -> bool:
    """Let every TensorFlow operation of this process run in one thread, so that each core works on its own scan.

    Must come before TensorFlow runs anything; too late, private training works all the same, but slower. Ordinary
    training and prediction in the same process get slower. Returns whether it was in time.
    """
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
    except RuntimeError:
        LOGGER.warning("TensorFlow is running already: private steps will take longer than they need to")
        return False
    return True


class TensorFlowAccumulator:
    """Sum, totals and the compiled functions of one model.

    Totals are (loss, correct scans, scans, units, clipped units, units whose gradient is not finite). XLA is left off:
    on a CPU it gains nothing and takes minutes to compile 3D convolutions.
    """

    def __init__(self, model: keras.Model, optimizer: keras.optimizers.Optimizer, config: "DpSgdConfig") -> None:
        """Make the sum; functions are traced at their first call."""
        self._model = model
        self._optimizer = optimizer
        self._config = config
        self._shapes = [tuple(v.shape) for v in model.trainable_variables]
        self._sizes = [math.prod(shape) for shape in self._shapes]
        # What a forward pass may change is the states of random layers, which each scan brings along.
        self._random = [is_random_state(v) for v in model.non_trainable_variables]
        self._sum: Tensor = None
        self._unit: Tensor = None
        self._totals: Tensor = None
        self.reset()
        self._add = tf.function(self._run, self._signature(), jit_compile=False, autograph=False)
        self._update = tf.function(self._apply, self._update_signature(), jit_compile=False, autograph=False)

    @property
    def size(self) -> int:
        """Number of trainable weights, which all take noise."""
        return sum(self._sizes)

    @property
    def random_layers(self) -> int:
        """Number of states that a scan has to bring along."""
        return sum(self._random)

    def add(self, x: Any, y: Any, mask: FloatArray, ends: FloatArray, masks: IntArray) -> None:
        """Add a chunk's clipped gradients to the sum; ``masks`` is (scan, random layer, 2)."""
        positions = np.flatnonzero(mask).astype(np.int32)
        used = int(positions[-1]) + 1 if len(positions) else 0  # the filling behind is not copied
        tensors = [tf.convert_to_tensor(a[:used], tf.float32) for a in (x, y, ends)]
        state = (self._sum, self._unit, self._totals)
        inputs = (*tensors, tf.constant(masks[:used]), tf.constant(positions))
        self._sum, self._unit, self._totals = self._add(state, inputs)

    def apply(self, noise: Noise, denominator: float) -> Noise:
        """Add (size,) noise to the sum, update the model unless a gradient was not finite, and return the totals."""
        totals = np.asarray(self._totals.numpy(), dtype=np.float64)
        if totals[-1] == 0.0:
            self._update(self._sum, tf.constant(noise, tf.float64), tf.constant(denominator, tf.float64))
        return totals

    def contribute(self, gradients: Sequence[npt.NDArray[Any]]) -> None:
        """Add arrays to the running sum as they are."""
        self._sum = self._sum + np.concatenate([g.ravel() for g in gradients])

    def reset(self) -> None:
        """Set sum and totals to zero."""
        self._sum = tf.zeros(sum(self._sizes))
        # Where a patient's scans gather until the last of them. A unit of one scan needs no such place.
        self._unit = tf.zeros_like(self._sum) if self._config.unit == PATIENT else tf.zeros(0)
        self._totals = tf.zeros(N_TOTALS)

    def _signature(self) -> tuple[tuple[tf.TensorSpec, ...], ...]:
        """Return what the compiled function takes: any number of scans, so that it is traced once."""
        state = tuple(tf.TensorSpec(part.shape) for part in (self._sum, self._unit, self._totals))
        scan, answer = self._model.input_shape[1:], self._model.output_shape[1:]
        masks = tf.TensorSpec((None, self.random_layers, 2), tf.int64)
        scans = (tf.TensorSpec((None, *scan)), tf.TensorSpec((None, *answer)), tf.TensorSpec((None,)), masks)
        return state, (*scans, tf.TensorSpec((None,), tf.int32))

    def _update_signature(self) -> tuple[tf.TensorSpec, ...]:
        return tf.TensorSpec((self.size,)), tf.TensorSpec((self.size,), tf.float64), tf.TensorSpec((), tf.float64)

    def _run(self, state: tuple[Tensor, ...], inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Loop over the drawn scans. One trace for any number of them."""
        *scans, order = inputs
        count = tf.size(order)
        weights = [tf.convert_to_tensor(v.value) for v in self._model.trainable_variables]
        others = [tf.convert_to_tensor(v.value) for v in self._model.non_trainable_variables]

        def body(i: Tensor, held: tuple[Tensor, ...]) -> tuple[Any, ...]:
            return i + 1, self._add_scan(weights, held, others, scans, order[i])

        _, held = tf.while_loop(
            lambda i, *_: i < count, body, (tf.constant(0), state), parallel_iterations=_scans_at_once()
        )
        return tuple(held)

    def _add_scan(
        self, weights: list[Tensor], held: tuple[Tensor, ...], others: list[Tensor], scans: list[Tensor], at: Tensor
    ) -> tuple[Tensor, ...]:
        total, gathered, totals = held
        # Gathered, not sliced: the shape of one scan is then known when the function is traced.
        x, y, end, masks = (tf.gather(a, at) for a in scans)
        states = iter(tf.unstack(masks))
        others = [next(states) if is_state else value for value, is_state in zip(others, self._random, strict=True)]
        loss, correct, gradient = self._gradient(weights, others, x[None], y[None])
        unit = gathered + gradient if self._config.unit == PATIENT else gradient
        norm = tf.sqrt(2.0 * tf.nn.l2_loss(unit))
        finite = tf.math.is_finite(norm)
        clip = tf.minimum(1.0, self._config.clip_norm / tf.maximum(norm, 1e-30))
        # A sum that a broken gradient entered is never used: the step is not taken.
        total = total + (clip * end) * unit
        if self._config.unit == PATIENT:
            gathered = tf.where(end > 0.0, 0.0, unit)
        clipped = tf.cast(norm > self._config.clip_norm, tf.float32) * end
        broken = (1.0 - tf.cast(finite, tf.float32)) * end
        totals = totals + tf.stack([loss, correct, 1.0, end, clipped, broken])
        return total, gathered, totals

    def _gradient(
        self, weights: list[Tensor], others: list[Tensor], x: Tensor, y: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return loss, whether the scan is classified correctly (0 or 1), and flat float32 gradient.

        Weights are tensors read before the loop: with nothing read or written inside, iterations can overlap.
        """
        scale = self._config.loss_scale
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            probabilities, _ = self._model.stateless_call(weights, others, x, training=True)
            loss = tf.cast(keras.losses.categorical_crossentropy(y, probabilities)[0], tf.float32)
            scaled = loss * scale if scale != 1.0 else loss
        parts = tape.gradient(scaled, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        flat = tf.concat([tf.reshape(tf.cast(tf.convert_to_tensor(p), tf.float32), [-1]) for p in parts], axis=0)
        correct = tf.cast(tf.equal(tf.argmax(probabilities[0]), tf.argmax(y[0])), tf.float32)
        return loss, correct, flat / scale if scale != 1.0 else flat

    def _apply(self, total: Tensor, noise: Tensor, denominator: Tensor) -> None:
        """Add the step's noise, divide by the expected batch and update the model."""
        mean = (tf.cast(total, tf.float64) + noise) / denominator
        variables = self._model.trainable_variables
        gradients = [tf.cast(p, v.value.dtype) for p, v in zip(self._split(mean), variables, strict=True)]
        self._optimizer.apply(gradients, variables)

    def _split(self, flat: Tensor) -> list[Tensor]:
        parts = zip(tf.split(flat, self._sizes), self._shapes, strict=True)
        return [tf.reshape(part, shape) for part, shape in parts]


def _scans_at_once() -> int:
    """Return how many iterations may overlap: one a core, and one alone where a GPU's memory is at stake."""
    if tf.config.list_physical_devices("GPU"):
        return 1
    return min(threads(), _MOST_SCANS_AT_ONCE)
