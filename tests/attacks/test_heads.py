import keras
import numpy as np
import pytest
import tensorflow as tf

from flprivacy.attacks.heads import KEEP, Adam, Batch, Head, HeadStack
from flprivacy.core.attributes import AGE_YEARS, SEX, SITE

HEADS = (
    Head(attribute=SITE, n_classes=5),
    Head(attribute=SEX, n_classes=2),
    Head(attribute=AGE_YEARS, n_classes=0),
)
SCANS, WIDTH, HIDDEN = 13, 6, 4
NORMS = (("gamma", "beta"), ("gamma_hidden", "beta_hidden"))


@pytest.fixture
def stack():
    made = HeadStack(HEADS, seed=0, features=WIDTH, hidden=HIDDEN)
    made.weights.flat[:] = np.random.default_rng(0).normal(size=made.weights.flat.shape)
    return made


@pytest.fixture
def features():
    made = np.random.default_rng(1).normal(2, 3, (SCANS, WIDTH)).astype("f4")
    made[0] += 40  # beyond where normalised units are cut off
    return made


@pytest.fixture
def batch():
    rng = np.random.default_rng(2)
    targets = np.stack([rng.integers(0, 5, SCANS), rng.integers(0, 2, SCANS), rng.normal(0, 2, SCANS)])
    weights = rng.uniform(0, 2, targets.shape)
    weights[1, 3] = targets[1, 3] = 0  # unknown
    masks = [rng.integers(0, 2, (len(HEADS), SCANS, n)).astype("f4") / KEEP for n in (WIDTH, HIDDEN)]
    return Batch(
        targets=targets.astype("f4"), weights=weights.astype("f4"), keep_features=masks[0], keep_hidden=masks[1]
    )


class PlainHead:
    """The reference study's head, and the shortcut, in plain Keras layers with the weights of one head of a stack."""

    def __init__(self, stack, a):
        weights, width = stack.weights, HEADS[a].width
        self.a, self.width = a, width
        self.norms = [keras.layers.BatchNormalization() for _ in NORMS]
        self.hidden, self.shortcut = (keras.layers.Dense(n, use_bias=False) for n in (HIDDEN, width))
        self.out = keras.layers.Dense(width)
        for layer, n in zip((*self.norms, self.hidden, self.out, self.shortcut), (WIDTH, *[HIDDEN, WIDTH] * 2)):
            layer.build((None, n))
        for norm, (gamma, beta) in zip(self.norms, NORMS):
            norm.gamma.assign(getattr(weights, gamma)[a, 0])
            norm.beta.assign(getattr(weights, beta)[a, 0])
        self.hidden.set_weights([weights.hidden[a]])
        self.shortcut.set_weights([weights.shortcut[a][:, :width]])
        self.out.set_weights([weights.out[a][:, :width], weights.bias[a, 0, :width]])

    def __call__(self, features, keep=(1.0, 1.0), training=False):
        x = keras.ops.clip(self.norms[0](features, training=training), -6, 6) * keep[0]
        hidden = self.norms[1](self.hidden(keras.ops.relu(x)), training=training)
        y = keras.ops.relu(keras.ops.clip(hidden, -6, 6)) * keep[1]
        return self.out(y) + self.shortcut(x)

    def variables(self):
        """Variables by the names of a stack's weights."""
        return {
            **{name: v for norm, names in zip(self.norms, NORMS) for name, v in zip(names, (norm.gamma, norm.beta))},
            "hidden": self.hidden.kernel,
            "shortcut": self.shortcut.kernel,
            "out": self.out.kernel,
            "bias": self.out.bias,
        }

    def gradients(self, features, batch):
        """The gradient of the weighted mean of Keras's losses: by name of a weight, and at the features."""
        truth, weights = batch.targets[self.a], batch.weights[self.a]
        inputs = tf.Variable(features)
        if HEADS[self.a].attribute is AGE_YEARS:
            loss = keras.losses.Huber(reduction=None)
        else:
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)
        variables = self.variables()
        with tf.GradientTape() as tape:
            answers = self(inputs, (batch.keep_features[self.a], batch.keep_hidden[self.a]), training=True)
            total = keras.ops.mean(weights * loss(truth[:, None], answers))
        found = tape.gradient(total, [*[v.value for v in variables.values()], inputs])
        return dict(zip(variables, map(np.asarray, found))), np.asarray(found[-1])


def test_gradients_are_those_of_keras_for_every_plain_head(stack, features, batch):
    at_features = stack.backward_through(features, batch)
    expected_at_features = 0
    for a, head in enumerate(HEADS):
        expected, at_inputs = PlainHead(stack, a).gradients(features, batch)
        expected_at_features += at_inputs
        for name, gradient in expected.items():
            ours = getattr(stack.gradient, name)[a]
            if name in ("shortcut", "out", "bias"):
                assert (ours[..., head.width :] == 0).all()  # of columns that the head does not have
                ours = ours[..., : head.width]
            assert np.abs(gradient).max() > 1e-4
            np.testing.assert_allclose(ours.reshape(gradient.shape), gradient, rtol=2e-3, atol=2e-5, err_msg=name)
    np.testing.assert_allclose(at_features, expected_at_features, rtol=2e-3, atol=2e-5)


def test_backward_gives_the_same_gradient_without_that_of_the_features(stack, features, batch):
    stack.backward_through(features, batch)
    expected = stack.gradient.flat.copy()
    stack.gradient.flat[:] = np.nan
    stack.backward(features, batch)
    np.testing.assert_array_equal(stack.gradient.flat, expected)


def test_scores_are_the_plain_heads_with_the_exposed_samples_statistics(stack):
    rng = np.random.default_rng(3)
    exposed, held_out = (rng.normal(1, 2, (n, WIDTH)).astype("f4") for n in (150, 140))  # more than a chunk
    scores = stack.scores(held_out, exposed)
    assert scores.shape == (len(HEADS), 140, 5)
    assert scores.dtype == np.float32
    for a, head in enumerate(HEADS):
        plain = PlainHead(stack, a)
        first, second = plain.norms
        first.moving_mean.assign(exposed.mean(0))
        first.moving_variance.assign(exposed.var(0))
        hidden = np.asarray(plain.hidden(keras.ops.relu(keras.ops.clip(first(exposed, training=False), -6, 6))))
        second.moving_mean.assign(hidden.mean(0))
        second.moving_variance.assign(hidden.var(0))
        expected = plain(held_out)
        if head.attribute is not AGE_YEARS:
            expected = keras.ops.softmax(expected)
            assert (scores[a, :, head.width :] == 0).all()
        np.testing.assert_allclose(scores[a, :, : head.width], expected, rtol=2e-3, atol=1e-4)


def test_adam_is_kerass():
    rng = np.random.default_rng(4)
    weights, gradients = rng.normal(size=50).astype("f4"), rng.normal(size=(20, 50)).astype("f4")
    variable, theirs, ours = keras.Variable(weights), keras.optimizers.Adam(5e-3), Adam(50, 5e-3)
    for gradient in gradients:
        theirs.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        ours.apply(weights, gradient)
    np.testing.assert_allclose(weights, variable, rtol=1e-5, atol=1e-6)


def test_initial_weights_depend_on_the_heads_own_name_and_seed_alone():
    together, alone = (HeadStack(heads, seed=9, features=WIDTH, hidden=HIDDEN).weights for heads in (HEADS, HEADS[1:2]))
    other = HeadStack(HEADS, seed=4, features=WIDTH, hidden=HIDDEN).weights
    np.testing.assert_array_equal(together.hidden[1], alone.hidden[0])
    np.testing.assert_array_equal(together.out[1, :, :2], alone.out[0])
    assert (together.out[1, :, 2:] == 0).all()
    assert (together.shortcut == 0).all()
    assert (together.hidden[0] != together.hidden[1]).all()
    assert (together.hidden[0] != other.hidden[0]).all()
    assert np.abs(together.hidden).max() <= np.sqrt(6 / (WIDTH + HIDDEN))


def test_the_streams_of_attributes_keep_their_numbers():
    """Another number would draw other weights: the same seed would no longer mean the same attack."""
    assert [head.stream for head in HEADS] == [0, 1, 3]
