"""DP-SGD (Abadi et al., arXiv:1607.00133): a training step that keeps its promise, for any Keras model and optimizer.

In a step, each unit's gradient (a scan's, or the sum over a patient's scans) is clipped to an L2 norm over all
trainable tensors together; the clipped gradients are summed; Gaussian noise is added to the sum once; the result over
the *expected* batch goes to the optimizer. Dividing by the number that was drawn would make the update's sensitivity
depend on the data.

Gradients stream: those of a few scans are computed, clipped and added to the sum inside a loop in one compiled
function, and gone before the next (on a CPU, a few in each core), so that memory is about that of an ordinary step.
Norms and sums are float32 whatever the network computes in; noise is drawn and added in float64.

The compiled loop is in :mod:`flprivacy.privacy.gradients_tensorflow`.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt

from flprivacy.core.array_types import Float32Array, FloatArray, IntArray
from flprivacy.core.errors import ConfigError, TrainingError
from flprivacy.privacy.compatibility import validate
from flprivacy.privacy.config import DpSgdConfig
from flprivacy.privacy.events import PATIENT, SCAN
from flprivacy.privacy.randomness import LAYERS, NOISE, gaussian, generator

_STATES = 1 << 31  # of each half of what a random layer draws from


class StepResult(NamedTuple):
    """What a step saw, before the update. None of it is private: it must not be published beside the model.

    Attributes:
        loss: mean cross-entropy over the drawn scans; 0 where none was drawn, as for the shares.
        accuracy: share of them classified correctly, in [0, 1].
        clipped: share of the units whose gradient was longer than the clip norm, in [0, 1].
    """

    loss: float
    accuracy: float
    scans: int
    units: int
    clipped: float


class DpSgdRule:
    """One private optimisation step on one model: compiled once, called with chunks of one physical size.

    >>> rule = DpSgdRule(model, keras.optimizers.Adam(1e-3), config, seed=secret_seed())    # doctest: +SKIP
    >>> for chunk in scan_chunks(n, rate, physical=64, seed=seed, key=(client, round_, step)):    # doctest: +SKIP
    ...     rule.step(x[chunk.indices], y[chunk.indices], chunk.mask, key=(client, round_, step), last=chunk.last)
    """

    def __init__(
        self, model: keras.Model, optimizer: keras.optimizers.Optimizer, config: DpSgdConfig, *, seed: int
    ) -> None:
        """Compile the step.

        Args:
            model: (batch, depth, height, width, channel) -> (batch, class) probabilities.
            optimizer: any but a loss-scaling one; built here if it is not yet. It sees the noised mean gradient only.
            config: clipping, noise and denominator.
            seed: draws the noise; a secret (:mod:`flprivacy.privacy.randomness`).

        Raises:
            TrainingError: the model or the optimizer would break the promise.
            ConfigError: Keras's backend is another than TensorFlow.
        """
        if keras.backend.backend() != "tensorflow":
            raise ConfigError(
                f"Keras's backend is {keras.backend.backend()!r}; private training needs tensorflow: set KERAS_BACKEND"
            )
        from flprivacy.privacy.gradients_tensorflow import TensorFlowAccumulator  # other backends do without it

        validate(model)
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            raise TrainingError(
                "optimizer is a LossScaleOptimizer, which would divide the noised gradient by its own scale; give its "
                "inner optimizer and set loss_scale"
            )
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
        self.model = model
        self.optimizer = optimizer
        self._config = config
        self._seed = seed
        self._accumulator = TensorFlowAccumulator(model, optimizer, config)
        self._pending: tuple[int, ...] | None = None

    def step(
        self,
        x: Float32Array,
        y: Float32Array,
        mask: npt.ArrayLike,
        *,
        key: Sequence[int],
        scans: npt.ArrayLike | None = None,
        ends: npt.ArrayLike | None = None,
        last: bool = True,
    ) -> StepResult | None:
        """Add a chunk of a step's draw; with the last one add noise and update the model.

        Args:
            x: (physical, depth, height, width, channel) scans, of one physical size in every call.
            y: (physical, class) one-hot classes.
            mask: (physical,) 1 for a drawn scan, 0 for filling, in any order.
            key: names the step's noise; each step of a run, on every client, needs its own.
            scans: (physical,) uint64 key of each scan, which random layers draw from with the secret seed and ``key``:
                so a scan's masks do not depend on who else takes part. Not needed where the network has no such layer.
            ends: (physical,) 1 where a patient's last scan stands; not needed where the unit is a scan.
            last: whether the step is complete with this chunk; the result is None before.

        Raises:
            TrainingError: a gradient was not finite (the model is left as it was before the step), or the chunks do
                not belong together.
        """
        mask = np.asarray(mask, dtype=np.float32)
        stops = self._ends(mask, ends)
        self._check(x, mask, stops, tuple(key))
        masks = self._masks(key, scans, len(mask))
        if not last:
            self._pending = tuple(key)
            self._accumulator.add(x, y, mask, stops, masks)
            return None
        self._pending = None
        with ThreadPoolExecutor(1) as pool:  # while gradients are computed; neither holds Python's lock
            drawn = pool.submit(gaussian, NOISE, self._seed, key, self._accumulator.size)
            self._accumulator.add(x, y, mask, stops, masks)
        noise = drawn.result() * (self._config.clip_norm * self._config.noise_multiplier)
        totals = self._accumulator.apply(noise, self._config.expected_batch)
        self._accumulator.reset()
        return self._result(totals)

    def serve(self, *, noise_multiplier: float, expected_batch: float) -> None:
        """Take the next steps on data of another size: another client's. Nothing is traced again.

        Raises:
            TrainingError: a step is under way.
            ConfigError: a value out of range.
        """
        if self._pending is not None:
            raise TrainingError(f"step {self._pending} waits for its last chunk; finish it first")
        self._config = replace(self._config, noise_multiplier=noise_multiplier, expected_batch=expected_batch)

    def contribute(self, gradients: Sequence[npt.NDArray[Any]]) -> None:
        """Add one more unit's gradient, one array a trainable tensor, clipped like any other: a gradient-space canary.

        It must have been drawn like a scan, with the sampling rate, or it is more exposed and says nothing about scans.

        Raises:
            TrainingError: shapes that are not the model's, or values that are not finite.
        """
        shapes = [tuple(v.shape) for v in self.model.trainable_variables]
        if [np.shape(g) for g in gradients] != shapes:
            raise TrainingError("the contributed gradient does not fit the model; give one array a trainable tensor")
        norm = math.sqrt(sum(float(np.square(g, dtype=np.float64).sum()) for g in gradients))
        if not math.isfinite(norm):
            raise TrainingError("the contributed gradient is not finite; nothing was added")
        scale = min(1.0, self._config.clip_norm / norm) if norm > 0.0 else 1.0
        self._accumulator.contribute([np.asarray(scale * g, dtype=np.float32) for g in gradients])

    def _masks(self, key: Sequence[int], scans: npt.ArrayLike | None, physical: int) -> IntArray:
        """Return (physical, random layer, 2) states that random layers draw from."""
        layers = self._accumulator.random_layers
        if scans is None and layers:
            raise TrainingError("scans is missing, but the network has random layers; give a key for each scan")
        keys = np.zeros(physical, dtype=np.uint64) if scans is None else np.asarray(scans, dtype=np.uint64)
        words = np.stack([keys >> np.uint64(33), keys & np.uint64(_STATES - 1)], axis=-1).astype(np.int64)
        base = generator(LAYERS, self._seed, key).integers(_STATES, size=(layers, 2))
        return np.asarray(base ^ words[:, None, :])

    def _ends(self, mask: Float32Array, ends: npt.ArrayLike | None) -> Float32Array:
        """Return where units end: at every drawn scan, or where the caller says that a patient's scans do."""
        if self._config.unit == PATIENT and ends is None:
            raise TrainingError("ends is missing, but the unit is a patient; say where each patient's scans end")
        stops = mask if ends is None else np.asarray(ends, dtype=np.float32)
        if self._config.unit == SCAN and not np.array_equal(stops, mask):
            raise TrainingError("ends differs from mask, but the unit is a scan; set unit to 'patient'")
        return stops

    def _check(self, x: Float32Array, mask: Float32Array, ends: Float32Array, key: tuple[int, ...]) -> None:
        if mask.shape != (len(x),) or ends.shape != mask.shape or not np.isin((mask, ends), (0.0, 1.0)).all():
            raise TrainingError(
                f"mask {mask.shape} and ends {ends.shape} for {len(x)} scans: give a 0 or 1 for each scan of the chunk"
            )
        if (ends > mask).any():
            raise TrainingError("a unit ends at filling: ends must be 1 at drawn scans only")
        if self._pending not in (None, key):
            raise TrainingError(
                f"chunk of step {key} while step {self._pending} waits for its last chunk; finish that first"
            )

    def _result(self, totals: FloatArray) -> StepResult:
        loss, correct, scans, units, clipped, broken = (float(t) for t in totals)
        if broken:
            raise TrainingError(
                "a gradient is not finite; the step was not taken: lower learning_rate or noise_multiplier, or "
                "loss_scale where one is set"
            )
        return StepResult(
            loss=loss / max(scans, 1.0),
            accuracy=correct / max(scans, 1.0),
            scans=int(scans),
            units=int(units),
            clipped=clipped / max(units, 1.0),
        )


def prepare_process() -> None:
    """Set the process up for private steps at full speed; to be called before Keras's backend runs anything.

    On TensorFlow without a GPU each core then streams its own scan; ordinary steps get slower.
    """
    if keras.backend.backend() == "tensorflow":
        from flprivacy.privacy.gradients_tensorflow import one_thread_per_scan

        one_thread_per_scan()
