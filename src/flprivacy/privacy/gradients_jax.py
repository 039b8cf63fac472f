"""The streaming loop on JAX: one compiled function, one scan at a time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax  # type: ignore[import-not-found, unused-ignore]
import jax.numpy as jnp  # type: ignore[import-not-found, unused-ignore]
import keras
import numpy as np
import numpy.typing as npt

from flprivacy.privacy.events import PATIENT

if TYPE_CHECKING:
    from flprivacy.privacy.gradients import DpSgdConfig

FloatArray = npt.NDArray[np.float32]
Array = Any

N_TOTALS = 6


class JaxAccumulator:
    """Sums, totals and the compiled function of one model; see :class:`flprivacy.privacy.gradients.Accumulator`."""

    def __init__(self, model: keras.Model, optimizer: keras.optimizers.Optimizer, config: "DpSgdConfig") -> None:
        """Make the sums; the function is compiled at its first call."""
        self._model = model
        self._optimizer = optimizer
        self._config = config
        self._sums: list[Array] = []
        self._unit: list[Array] = []
        self._totals: Array = None
        # Weights, optimizer and sums are overwritten in place.
        self._compiled = jax.jit(self._run, donate_argnums=(0,))
        self.reset()

    def add(self, x: Any, y: Any, mask: FloatArray, ends: FloatArray) -> None:
        """Add a chunk's clipped gradients to the sum."""
        self._call(x, y, mask, ends, np.zeros(2, dtype=np.int32), np.ones(2, dtype=np.float32), last=False)

    def add_and_apply(
        self, x: Any, y: Any, mask: FloatArray, ends: FloatArray, seed: npt.NDArray[np.int32], scales: FloatArray
    ) -> npt.NDArray[np.float64]:
        """Add a chunk, then noise, update the model unless a gradient was not finite, and return the totals."""
        self._call(x, y, mask, ends, seed, scales, last=True)
        return np.asarray(self._totals, dtype=np.float64)

    def sums(self) -> list[FloatArray]:
        """Return a copy of the running sum, one array a trainable tensor."""
        return [np.array(s) for s in self._sums]

    def contribute(self, gradients: Sequence[npt.NDArray[Any]]) -> None:
        """Add arrays to the running sum as they are."""
        self._sums = [total + gradient for total, gradient in zip(self._sums, gradients, strict=True)]

    def reset(self) -> None:
        """Set sum and totals to zero."""
        shapes = [v.shape for v in self._model.trainable_variables]
        self._sums = [jnp.zeros(shape) for shape in shapes]
        # Where a patient's scans gather until the last of them. A unit of one scan needs no such place.
        self._unit = [jnp.zeros(shape) for shape in shapes] if self._config.unit == PATIENT else []
        self._totals = jnp.zeros(N_TOTALS)

    def _call(
        self,
        x: Any,
        y: Any,
        mask: FloatArray,
        ends: FloatArray,
        seed: npt.NDArray[np.int32],
        scales: FloatArray,
        *,
        last: bool,
    ) -> None:
        positions = np.flatnonzero(mask).astype(np.int32)
        order = np.zeros(len(mask), dtype=np.int32)
        order[: len(positions)] = positions
        model, optimizer = self._model, self._optimizer
        variables = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
        state = {
            "weights": [v.value for v in variables[0]],
            "others": [v.value for v in variables[1]],
            "optimizer": [v.value for v in variables[2]],
            "sums": self._sums,
            "unit": self._unit,
            "totals": self._totals,
        }
        inputs = (*(jnp.asarray(a, jnp.float32) for a in (x, y, ends)), order, np.int32(len(positions)))
        state = self._compiled(state, inputs, (seed.view(np.uint32), scales), np.bool_(last))
        self._sums, self._unit, self._totals = state["sums"], state["unit"], state["totals"]
        for group, name in zip(variables, ("weights", "others", "optimizer"), strict=True):
            for variable, value in zip(group, state[name], strict=True):
                variable.assign(value)

    def _run(
        self, state: dict[str, Array], inputs: tuple[Array, ...], draws: tuple[Array, Array], last: Array
    ) -> dict[str, Array]:
        """Loop over the drawn scans, then noise and update if ``last``. One trace for any number of drawn scans."""
        x, y, ends, order, count = inputs
        loop = {name: state[name] for name in ("others", "sums", "unit", "totals")}
        loop = jax.lax.fori_loop(
            0, count, lambda i, held: self._add_scan(state["weights"], held, x, y, ends, order[i]), loop
        )
        whole = jnp.logical_and(last, loop["totals"][5] == 0.0)
        weights, optimizer = jax.lax.cond(
            whole,
            lambda: self._apply(state["weights"], state["optimizer"], loop["sums"], *draws),
            lambda: (state["weights"], state["optimizer"]),
        )
        result: dict[str, Array] = loop | {"weights": weights, "optimizer": optimizer}
        return result

    def _add_scan(
        self, weights: list[Array], held: dict[str, Array], x: Array, y: Array, ends: Array, position: Array
    ) -> dict[str, Array]:
        scan = [jax.lax.dynamic_slice_in_dim(a, position, 1) for a in (x, y)]
        grad = jax.value_and_grad(self._scaled_loss, has_aux=True)
        (_, (loss, correct, others)), gradient = grad(weights, held["others"], *scan)
        scale = self._config.loss_scale
        unit = [g.astype(jnp.float32) / scale for g in gradient]
        if held["unit"]:
            unit = [h + g for h, g in zip(held["unit"], unit, strict=True)]
        end = ends[position]
        norm = jnp.sqrt(sum(jnp.sum(jnp.square(part)) for part in unit))
        finite = jnp.isfinite(norm)
        clip = jnp.minimum(1.0, self._config.clip_norm / jnp.maximum(norm, 1e-30))
        counted = jnp.logical_and(finite, end > 0.0)
        sums = [s + jnp.where(counted, part * clip, 0.0) for s, part in zip(held["sums"], unit, strict=True)]
        clipped = (norm > self._config.clip_norm) * end
        totals = held["totals"] + jnp.stack([loss, correct, 1.0, end, clipped, (1.0 - finite) * end])
        kept = [jnp.where(end > 0.0, 0.0, part) for part in unit] if held["unit"] else []
        return {"others": others, "sums": sums, "unit": kept, "totals": totals}

    def _scaled_loss(
        self, weights: list[Array], others: list[Array], x: Array, y: Array
    ) -> tuple[Array, tuple[Array, Array, list[Array]]]:
        probabilities, others = self._model.stateless_call(weights, others, x, training=True)
        loss = keras.losses.categorical_crossentropy(y, probabilities)[0].astype(jnp.float32)
        correct = (jnp.argmax(probabilities[0]) == jnp.argmax(y[0])).astype(jnp.float32)
        return loss * self._config.loss_scale, (loss, correct, others)

    def _apply(
        self, weights: list[Array], optimizer: list[Array], sums: list[Array], seed: Array, scales: Array
    ) -> tuple[list[Array], list[Array]]:
        """Add the step's noise, divide by the expected batch and update the model."""
        keys = jax.random.split(jax.random.wrap_key_data(seed, impl="threefry2x32"), len(sums))
        means = []
        for key, total, weight in zip(keys, sums, weights, strict=True):
            noise = scales[0] * jax.random.normal(key, total.shape)
            means.append(((total + noise) / scales[1]).astype(weight.dtype))
        updated: tuple[list[Array], list[Array]] = self._optimizer.stateless_apply(optimizer, means, weights)
        return updated
