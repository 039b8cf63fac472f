"""The attack's heads, all heads of a grid in one Keras model.

A head is the reference study's - features -> BatchNorm, Dropout .5, ReLU, Dense, BatchNorm, Dropout .5, ReLU, Dense -
with a shortcut: a linear map from the normalised features to the logits. The differences make the attacker stronger
or leave it as it is:

- The shortcut, which starts at zero, learns within the few steps of an attack on some hundred exposed scans; the
  reference's head alone does not, as half of what it is given is cut off by the first ReLU and half dropped.
- Features are scaled to unit variance over the exposed sample first, so that the normalisation's epsilon (1e-3) does
  not silence a trunk whose features are small, such as an untrained one's.
- A normalised unit is cut off at 6 standard deviations: a unit that was almost always silent over the exposed sample
  would otherwise throw a held-out scan in which it is not to any answer (and an age to thousands of years).
- Scoring normalises with the exposed sample's exact statistics (see :class:`StackedNormalization`).
- Dropout's random bits come from outside, one stream a head, so that a head does not depend on its neighbours.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from flprivacy.attacks.labels import STREAMS, AttributeLabels
from flprivacy.attacks.layers import StackedDense, StackedNormalization

KEEP = 0.5  # dropout keeps a unit with this probability: one random bit a unit
_INIT_STREAM = 11
_MASKED = -1e9
_HUBER_DELTA = 1.0  # in standard deviations of the exposed ages
_FARTHEST = 6.0  # standard deviations of the exposed sample that a normalised unit may lie from its mean


class StackedHeads(keras.Model):  # type: ignore[misc]
    """Heads with leading axes (model, seed, attribute): M x S x A of them.

    Inputs are a dictionary:

    - ``features``: (M, S or 1, 1, scan, feature), as extracted.
    - ``scale``: (M, S, 1, 1, feature), reciprocal standard deviations over the exposed sample.
    - ``reference``: (M, S, 1, exposed scan, feature), whose statistics normalise; the batch's own if absent.
    - ``keep_features`` (1, S, A, scan, feature) and ``keep_hidden`` (1, S, A, scan, hidden): dropout masks of 0 and 1,
      shared by the models; no dropout if absent.

    Output: (M, S, A, scan, class) logits. A head of fewer classes than ``width`` has its surplus columns masked; a
    regression head answers in column 0, in standard deviations of the exposed ages.
    """

    def __init__(
        self, *, models: int, seeds: int, labels: Sequence[AttributeLabels], features: int, hidden: int, **kwargs: Any
    ) -> None:
        """Build the stack; initial weights are zero until :func:`initial_weights` are set."""
        super().__init__(**kwargs)
        lead = (models, seeds, len(labels))
        self.lead, self.width = lead, max(one.width for one in labels)
        used = np.array([[column < one.width for column in range(self.width)] for one in labels])
        self._mask = np.where(used, 0.0, _MASKED).astype(np.float32)[:, None, :]  # (A, 1, width)
        self._regression = np.array([one.regression for one in labels])[:, None]  # (A, 1)
        self.norm_features = StackedNormalization(lead, name="norm_features")
        # Normalisation would take a bias away again, and the shortcut shares the output's.
        self.dense_hidden = StackedDense(lead, hidden, use_bias=False, name="dense_hidden")
        self.norm_hidden = StackedNormalization(lead, name="norm_hidden")
        self.dense_out = StackedDense(lead, self.width, name="dense_out")
        self.shortcut = StackedDense(lead, self.width, use_bias=False, name="shortcut")
        self.norm_features.build((*lead, None, features))
        self.dense_hidden.build((*lead, None, features))
        self.norm_hidden.build((*lead, None, hidden))
        self.dense_out.build((*lead, None, hidden))
        self.shortcut.build((*lead, None, features))
        self.built = True

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        """Return the logits; see the class. ``training`` changes nothing by itself: masks and reference do."""
        sample = inputs.get("reference", inputs["features"]) * inputs["scale"]
        scale, shift = self.norm_features.affine(sample)
        scale = inputs["scale"] * scale
        x = _dropped(_cut(inputs["features"] * scale + shift), inputs.get("keep_features"))
        hidden = reference = self.dense_hidden(ops.relu(x))  # dropout and ReLU commute, as masks are not negative
        if "reference" in inputs:  # its hidden statistics are its own, without dropout
            reference = self.dense_hidden(ops.relu(_cut(inputs["reference"] * scale + shift)))
        y = _dropped(ops.relu(_cut(self.norm_hidden(hidden, reference))), inputs.get("keep_hidden"))
        return self.dense_out(y) + self.shortcut(x) + self._mask

    def losses_of(self, targets: Any, logits: Any) -> Any:
        """Return each scan's loss: cross-entropy for classes, Huber for standardised years.

        Args:
            targets: (1 or M, S, A, scan) class index or standardised years.
            logits: (M, S, A, scan, class).

        Returns:
            (M, S, A, scan) losses, not weighted.
        """
        picked = ops.one_hot(ops.cast(targets, "int32"), self.width, dtype=logits.dtype) * logits
        entropy = ops.logsumexp(logits, axis=-1) - ops.sum(picked, axis=-1)
        error = ops.abs(logits[..., 0] - targets)
        quadratic = ops.minimum(error, _HUBER_DELTA)
        huber = quadratic * (error - 0.5 * quadratic)
        return ops.where(self._regression, huber, entropy)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Return the sum over heads of each head's weighted mean loss, so that heads stay independent.

        Args:
            x: inputs; not used.
            y: ``targets`` and ``weights``, each (1, S, A, scan).
            y_pred: (M, S, A, scan, class) logits.
            sample_weight: not used; the weights differ between heads and are part of ``y``.
            training: not used.
        """
        return ops.sum(ops.mean(y["weights"] * self.losses_of(y["targets"], y_pred), axis=-1))

    def scores_of(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Turn logits (M, S, A, scan, class) into class probabilities; a regression head's column 0 stays as it is."""
        shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
        probabilities = shifted / shifted.sum(axis=-1, keepdims=True)
        return np.where(self._regression[..., None], logits, probabilities).astype(np.float32)


def _cut(x: Any) -> Any:
    return ops.clip(x, -_FARTHEST, _FARTHEST)


def _dropped(x: Any, keep: Any) -> Any:
    return x if keep is None else x * (ops.cast(keep, x.dtype) * (1.0 / KEEP))


def initial_weights(
    labels: Sequence[AttributeLabels], *, seeds: Sequence[int], features: int, hidden: int
) -> dict[str, npt.NDArray[np.float32]]:
    """Draw every head's initial kernels (Glorot uniform, as in Keras) from its own (seed, attribute) stream.

    The shortcut starts at zero.

    Returns:
        ``hidden``: (seed, attribute, features, hidden) and ``out``: (seed, attribute, hidden, width) kernels; surplus
        columns of heads with fewer classes are zero. The models of a target start from the same heads.
    """
    width = max(one.width for one in labels)
    kernels = {
        "hidden": np.zeros((len(seeds), len(labels), features, hidden), np.float32),
        "out": np.zeros((len(seeds), len(labels), hidden, width), np.float32),
    }
    for s, seed in enumerate(seeds):
        for a, one in enumerate(labels):
            rng = np.random.default_rng([_INIT_STREAM, STREAMS[one.name], seed])
            kernels["hidden"][s, a] = _glorot(rng, features, hidden)
            kernels["out"][s, a, :, : one.width] = _glorot(rng, hidden, one.width)
    return kernels


def _glorot(rng: np.random.Generator, rows: int, columns: int) -> npt.NDArray[np.float64]:
    limit = np.sqrt(6.0 / (rows + columns))
    return rng.uniform(-limit, limit, size=(rows, columns))
