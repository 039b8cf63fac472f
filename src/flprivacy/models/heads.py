"""Disease heads: features (n, feature) to class probabilities (n, class), always float32."""

import keras
from keras import layers


def linear_head(features: int, classes: int) -> keras.Model:
    """One dense layer and a softmax."""
    inputs = keras.Input((features,), name="features")
    return _probabilities(inputs, inputs, classes)


def dropout_head(features: int, classes: int) -> keras.Model:
    """Dropout 0.3, then one dense layer: the reference study's head of its residual 3D CNN."""
    inputs = keras.Input((features,), name="features")
    return _probabilities(inputs, layers.Dropout(0.3, name="head_dropout")(inputs), classes)


def bottleneck_head(features: int, classes: int) -> keras.Model:
    """The reference study's head on I3D and slice features: two rounds of normalisation, a bottleneck of 32 units.

    Features -> BatchNorm, Dropout 0.5, ReLU, Dense 32, BatchNorm, Dropout 0.5, ReLU, Dense classes, softmax.
    """
    inputs = x = keras.Input((features,), name="features")
    for round_ in (1, 2):
        x = layers.BatchNormalization(name=f"head_bn{round_}")(x)
        x = layers.Dropout(0.5, name=f"head_dropout{round_}")(x)
        x = layers.Activation("relu", name=f"head_relu{round_}")(x)
        if round_ == 1:
            x = layers.Dense(32, name="head_bottleneck")(x)
    return _probabilities(inputs, x, classes)


def _probabilities(inputs: keras.KerasTensor, x: keras.KerasTensor, classes: int) -> keras.Model:
    logits = layers.Dense(classes, name="head_logits")(x)
    # float32 even under a mixed policy: half precision rounds small probabilities to 0 and their logarithm to -inf.
    probabilities = layers.Activation("softmax", dtype="float32", name="head_softmax")(logits)
    return keras.Model(inputs, probabilities, name="head")
