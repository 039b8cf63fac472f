import keras
import numpy as np
import pytest
from attack_examples import labels_for

from flprivacy.attacks.heads import KEEP, StackedHeads, initial_weights

CLASSES = {"site": 5, "sex": 2, "age_years": 0}
MODELS, SEEDS, SCANS, WIDTH, HIDDEN = 2, 3, 13, 6, 4


@pytest.fixture
def labels():
    return labels_for({name: np.zeros(1) for name in CLASSES}, CLASSES)


@pytest.fixture
def heads(labels):
    stack = StackedHeads(models=MODELS, seeds=SEEDS, labels=labels, features=WIDTH, hidden=HIDDEN)
    rng = np.random.default_rng(0)
    for weight in stack.weights:
        weight.assign(rng.normal(size=weight.shape))
    return stack


@pytest.fixture
def inputs():
    rng = np.random.default_rng(1)
    lead = (1, SEEDS, len(CLASSES), SCANS)
    return {
        "features": rng.normal(2, 3, (MODELS, SEEDS, 1, SCANS, WIDTH)).astype("f4"),
        "scale": np.ones((MODELS, SEEDS, 1, 1, WIDTH), "f4"),
        "keep_features": rng.integers(0, 2, (*lead, WIDTH), dtype=np.uint8),
        "keep_hidden": rng.integers(0, 2, (*lead, HIDDEN), dtype=np.uint8),
    }


class FixedDropout(keras.layers.Layer):
    """Dropout with a given mask, in the plain head."""

    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)

    def call(self, x):
        return x if self.mask is None else x * (self.mask / KEEP)


def plain_head(heads, head, width, keep=(None, None)):
    """The reference study's head, and the shortcut, in plain Keras layers with the weights of one head of the stack."""
    norms = [keras.layers.BatchNormalization() for _ in range(2)]
    denses = [keras.layers.Dense(HIDDEN), keras.layers.Dense(width), keras.layers.Dense(width)]
    inputs = keras.Input((WIDTH,))
    cut = keras.layers.Lambda(lambda x: keras.ops.clip(x, -6.0, 6.0))  # standard deviations
    x = FixedDropout(keep[0])(cut(norms[0](inputs)))
    hidden = denses[0](keras.layers.ReLU()(x))
    y = keras.layers.ReLU()(FixedDropout(keep[1])(cut(norms[1](hidden))))
    model = keras.Model(inputs, keras.layers.Add()([denses[1](y), denses[2](x)]))
    for plain, stacked in zip(norms, (heads.norm_features, heads.norm_hidden)):
        plain.gamma.assign(np.asarray(stacked.gamma)[head][0])
        plain.beta.assign(np.asarray(stacked.beta)[head][0])
    for plain, stacked in zip(denses, (heads.dense_hidden, heads.dense_out, heads.shortcut)):
        bias = np.asarray(stacked.bias)[head][0] if stacked.use_bias else np.zeros(stacked.units)
        plain.set_weights([np.asarray(stacked.kernel)[head][:, : plain.units], bias[: plain.units]])
    return model, norms


def _widths(labels):
    return [(head, labels[head[2]].width) for head in np.ndindex(MODELS, SEEDS, len(labels))]


def test_training_equals_the_plain_head_with_the_same_dropout_masks(heads, labels, inputs):
    logits = np.asarray(heads(inputs))
    assert logits.shape == (MODELS, SEEDS, len(labels), SCANS, 5)
    for (m, s, a), width in _widths(labels):
        keep = (inputs["keep_features"][0, s, a].astype("f4"), inputs["keep_hidden"][0, s, a].astype("f4"))
        model, _ = plain_head(heads, (m, s, a), width, keep)
        expected = model(inputs["features"][m, s, 0], training=True)
        np.testing.assert_allclose(logits[m, s, a, :, :width], expected, rtol=2e-3, atol=2e-3)


def test_scoring_equals_the_plain_head_with_the_exposed_samples_statistics(heads, labels, inputs):
    reference = np.random.default_rng(2).normal(1, 2, (MODELS, SEEDS, 1, 31, WIDTH)).astype("f4")
    test = np.random.default_rng(3).normal(1, 2, (MODELS, 1, 1, 8, WIDTH)).astype("f4")
    logits = np.asarray(heads({"features": test, "reference": reference, "scale": inputs["scale"]}))
    for (m, s, a), width in _widths(labels):
        model, (first, second) = plain_head(heads, (m, s, a), width)
        sample = reference[m, s, 0]
        first.moving_mean.assign(sample.mean(0))
        first.moving_variance.assign(sample.var(0))
        hidden = keras.Model(model.inputs[0], second.input)(sample)  # inference: the first statistics are fixed
        second.moving_mean.assign(np.asarray(hidden).mean(0))
        second.moving_variance.assign(np.asarray(hidden).var(0))
        expected = model(test[m, 0, 0], training=False)
        np.testing.assert_allclose(logits[m, s, a, :, :width], expected, rtol=2e-3, atol=2e-3)


def test_surplus_columns_get_no_probability(heads, inputs):
    scores = heads.scores_of(np.asarray(heads(inputs)))
    assert scores[:, :, 1, :, 2:].max() == 0  # sex has two classes
    np.testing.assert_allclose(scores[:, :, :2].sum(-1), 1, rtol=1e-5)


def test_losses_are_kerass(heads, labels, inputs):
    rng = np.random.default_rng(4)
    targets = np.zeros((1, SEEDS, 3, SCANS), "f4")
    targets[:, :, 0] = rng.integers(0, 5, (1, SEEDS, SCANS))
    targets[:, :, 1] = rng.integers(0, 2, (1, SEEDS, SCANS))
    targets[:, :, 2] = rng.normal(0, 2, (1, SEEDS, SCANS))
    logits = np.asarray(heads(inputs))
    losses = np.asarray(heads.losses_of(targets, logits))
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)
    huber = keras.losses.Huber(reduction=None)
    for (m, s, a), width in _widths(labels):
        truth, some = targets[0, s, a], logits[m, s, a, :, :width]
        expected = huber(truth[:, None], some) if a == 2 else entropy(truth.astype(int), some)
        np.testing.assert_allclose(losses[m, s, a], expected, rtol=1e-3, atol=1e-4)


def test_initial_weights_depend_on_the_heads_own_names_alone(labels):
    together = initial_weights(labels, seeds=(4, 9), features=WIDTH, hidden=HIDDEN)
    alone = initial_weights(labels[1:2], seeds=(9,), features=WIDTH, hidden=HIDDEN)
    np.testing.assert_array_equal(together["hidden"][1, 1], alone["hidden"][0, 0])
    np.testing.assert_array_equal(together["out"][1, 1, :, :2], alone["out"][0, 0])
    assert (together["out"][1, 1, :, 2:] == 0).all()
    assert (together["hidden"][0, 0] != together["hidden"][1, 0]).all()
    limit = np.sqrt(6 / (WIDTH + HIDDEN))
    assert np.abs(together["hidden"]).max() <= limit
