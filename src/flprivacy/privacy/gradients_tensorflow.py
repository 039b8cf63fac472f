"""The streaming loop on TensorFlow: a compiled function, a few scans at a time on each core.

A convolution of a few small scans is too little work to share among threads. So iterations of the loop overlap, as
many as there are cores: memory holds that many groups of scans instead of a batch, and the sum is still added up in
the order of the scans, so that results do not depend on timing. Where the process has just one thread an operation
(:func:`one_thread_per_scan`), a step takes about as long as an ordinary one.
"""

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from flprivacy.core.array_types import Float32Array, FloatArray, IntArray
from flprivacy.core.tensorflow_environment import threads
from flprivacy.privacy.compatibility import is_random_state
from flprivacy.privacy.events import PATIENT
from flprivacy.privacy.scan_gradients_tensorflow import scan_gradients

if TYPE_CHECKING:
    from flprivacy.privacy.config import DpSgdConfig

LOGGER = logging.getLogger(__name__)
Noise = FloatArray
Tensor = Any

N_TOTALS = 6
_MOST_AT_ONCE = 8  # iterations of the loop


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
        self._differentiate = scan_gradients(model, config.loss_scale)
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

    def add(self, x: Any, y: Any, mask: Float32Array, ends: Float32Array, masks: IntArray) -> None:
        """Add a chunk's clipped gradients to the sum; ``masks`` is (scan, random layer, 2)."""
        drawn = np.flatnonzero(mask)
        if len(drawn) != np.max(drawn, initial=-1) + 1:
            x, y, ends, masks = (np.asarray(a)[drawn] for a in (x, y, ends, masks))
        # The filling behind is not copied.
        tensors = [tf.convert_to_tensor(a[: len(drawn)], tf.float32) for a in (x, y, ends)]
        state = (self._sum, self._unit, self._totals)
        self._sum, self._unit, self._totals = self._add(state, (*tensors, tf.constant(masks[: len(drawn)])))

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
        return state, scans

    def _update_signature(self) -> tuple[tf.TensorSpec, ...]:
        return tf.TensorSpec((self.size,)), tf.TensorSpec((self.size,), tf.float64), tf.TensorSpec((), tf.float64)

    def _run(self, state: tuple[Tensor, ...], scans: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Loop over the drawn scans, in groups and then one by one. One trace for any number of them."""
        count = tf.shape(scans[0])[0]
        weights = [tf.convert_to_tensor(v.value) for v in self._model.trainable_variables]
        others = [tf.convert_to_tensor(v.value) for v in self._model.non_trainable_variables]
        done = tf.constant(0)
        for size in sorted({self._differentiate.size, 1}, reverse=True):
            end = count - (count - done) % size

            def body(start: Tensor, held: tuple[Tensor, ...], size: int = size) -> tuple[Any, ...]:
                group = [tf.ensure_shape(a[start : start + size], [size, *a.shape[1:]]) for a in scans]
                return start + size, self._add_group(weights, held, others, group)

            done, state = tf.while_loop(
                lambda start, *_, end=end: start < end, body, (done, state), parallel_iterations=_groups_at_once()
            )
        return tuple(state)

    def _add_group(
        self, weights: list[Tensor], held: tuple[Tensor, ...], others: list[Tensor], group: list[Tensor]
    ) -> tuple[Tensor, ...]:
        total, gathered, totals = held
        x, y, ends, masks = group
        if any(self._random):  # such networks take one scan at a time
            states = iter(tf.unstack(masks[0]))
            others = [next(states) if is_state else value for value, is_state in zip(others, self._random, strict=True)]
        loss, correct, units = self._differentiate(weights, others, x, y)
        if self._config.unit == PATIENT:
            units, ends, gathered = _by_patient(units, ends, tf.split(gathered, self._sizes))
        norms = tf.sqrt(tf.add_n([_squared_norms(part) for part in units]))
        clip = tf.minimum(1.0, self._config.clip_norm / tf.maximum(norms, 1e-30)) * ends
        # A sum that a broken gradient entered is never used: the step is not taken.
        total = total + tf.concat([tf.linalg.matvec(part, clip, transpose_a=True) for part in units], axis=0)
        clipped = tf.cast(norms > self._config.clip_norm, tf.float32) * ends
        broken = (1.0 - tf.cast(tf.math.is_finite(norms), tf.float32)) * ends
        sums = [tf.reduce_sum(part) for part in (loss, correct, tf.ones_like(loss), ends, clipped, broken)]
        return total, gathered, totals + tf.stack(sums)

    def _apply(self, total: Tensor, noise: Tensor, denominator: Tensor) -> None:
        """Add the step's noise, divide by the expected batch and update the model."""
        mean = (tf.cast(total, tf.float64) + noise) / denominator
        variables = self._model.trainable_variables
        gradients = [tf.cast(p, v.value.dtype) for p, v in zip(self._split(mean), variables, strict=True)]
        self._optimizer.apply(gradients, variables)

    def _split(self, flat: Tensor) -> list[Tensor]:
        parts = zip(tf.split(flat, self._sizes), self._shapes, strict=True)
        return [tf.reshape(part, shape) for part, shape in parts]


def _by_patient(gradients: list[Tensor], ends: Tensor, gathered: list[Tensor]) -> tuple[list[Tensor], Tensor, Tensor]:
    """Sum a group's scans by patient.

    Args:
        gradients: (scan, size) of each variable.
        ends: (scan,) 1 where a patient's last scan stands.
        gathered: (size,) of each variable: what the scans before have left of the first patient.

    Returns:
        (patient, size) of each variable, with as many rows as scans; (patient,) 1 where the patient is complete; and
        the flat sum of the patient who is not.
    """
    scans = ends.shape[0]
    patient = tf.cast(tf.cumsum(ends, exclusive=True), tf.int32)
    belongs = tf.transpose(tf.one_hot(patient, scans))  # (patient, scan)
    first = tf.one_hot(0, scans)[:, None]
    sums = [tf.matmul(belongs, part) + first * left for part, left in zip(gradients, gathered, strict=True)]
    left_over = tf.concat([part[patient[-1]] for part in sums], axis=0)
    return sums, tf.linalg.matvec(belongs, ends), tf.where(ends[-1] > 0.0, 0.0, left_over)


def _squared_norms(part: Tensor) -> Tensor:
    """Return (unit,) squared norms of (unit, size) values, summed up in float32 without a copy of the squares."""
    return 2.0 * tf.stack([tf.nn.l2_loss(part[i]) for i in range(part.shape[0])])


def _groups_at_once() -> int:
    """Return how many iterations may overlap: one a core, and one alone where a GPU's memory is at stake."""
    if tf.config.list_physical_devices("GPU"):
        return 1
    return min(threads(), _MOST_AT_ONCE)
