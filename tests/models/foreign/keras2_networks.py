"""The reference study's three networks as Keras 2 builds and saves them, at sizes for tests.

Written from its description (layers, names, sizes), so that files come from Keras 2 itself and not from our idea of it.
"""

import numpy as np
import tf_keras

L = tf_keras.layers

MIXED = {
    "3b": (64, 96, 128, 16, 32, 32),
    "3c": (128, 128, 192, 32, 96, 64),
    "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64),
    "4d": (128, 128, 256, 24, 64, 64),
    "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128),
    "5b": (256, 160, 320, 32, 128, 128),
    "5c": (384, 192, 384, 48, 128, 128),
}


def _conv_bn(x, filters, kernel, name, strides=1):
    x = L.Conv3D(filters, kernel, strides=strides, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = L.BatchNormalization(scale=False, name=f"{name}_bn")(x)
    return L.Activation("relu", name=name)(x)


def _mixed(x, block):
    a, b1, b2, c1, c2, d = MIXED[block]
    plain = _conv_bn(x, a, 1, f"Conv3d_{block}_0a_1x1")
    wide = _conv_bn(_conv_bn(x, b1, 1, f"Conv3d_{block}_1a_1x1"), b2, 3, f"Conv3d_{block}_1b_3x3")
    narrow = _conv_bn(_conv_bn(x, c1, 1, f"Conv3d_{block}_2a_1x1"), c2, 3, f"Conv3d_{block}_2b_3x3")
    pooled = L.MaxPooling3D(3, strides=1, padding="same")(x)
    pooled = _conv_bn(pooled, d, 1, f"Conv3d_{block}_3b_1x1")
    return L.concatenate([plain, wide, narrow, pooled], axis=4, name=f"Mixed_{block}")


def inflated_inception(shape):
    """The trunk of I3D without its top, on three channels."""
    x = scan = L.Input((*shape, 3))
    x = _conv_bn(x, 64, 7, "Conv3d_1a_7x7", strides=2)
    x = L.MaxPooling3D((1, 3, 3), strides=(1, 2, 2), padding="same")(x)
    x = _conv_bn(_conv_bn(x, 64, 1, "Conv3d_2b_1x1"), 192, 3, "Conv3d_2c_3x3")
    x = L.MaxPooling3D((1, 3, 3), strides=(1, 2, 2), padding="same")(x)
    x = _mixed(_mixed(x, "3b"), "3c")
    x = L.MaxPooling3D(3, strides=2, padding="same")(x)
    for block in ("4b", "4c", "4d", "4e", "4f"):
        x = _mixed(x, block)
    x = L.MaxPooling3D(2, strides=2, padding="same")(x)
    x = _mixed(_mixed(x, "5b"), "5c")
    x = L.AveragePooling3D((2, *x.shape[2:4]), strides=1, padding="valid", name="global_avg_pool_ed")(x)
    return tf_keras.Model(scan, x, name="i3d_inception")


def _bottleneck(x, classes, last="softmax"):
    x = L.Activation("relu")(L.Dropout(0.5)(L.BatchNormalization()(x)))
    x = L.Dense(32)(x)
    x = L.Activation("relu")(L.Dropout(0.5)(L.BatchNormalization()(x)))
    return L.Activation(last)(L.Dense(classes)(x))


def i3d(shape, classes=3):
    """Return (whole model, model up to its features, nested trunk)."""
    scan = L.Input((*shape, 1))
    trunk = inflated_inception(shape)
    x = trunk(L.Concatenate(axis=4)([scan, scan, scan]))
    x = L.AveragePooling3D((2, 1, 1), strides=1, padding="valid", name="global_avg_pool_ed2")(x)
    features = L.Flatten()(x)
    model = tf_keras.Model(scan, _bottleneck(features, classes))
    return model, tf_keras.Model(scan, features), trunk


def cnn3d(shape, classes=3):
    """Return (whole model, model up to its features)."""
    scan = L.Input((*shape, 1))
    x = L.Permute((2, 3, 1, 4))(scan)
    x = L.Conv3D(16, 3, padding="same", activation="relu")(x)
    x = L.BatchNormalization()(L.MaxPool3D((2, 2, 1))(x))
    for filters, pool in ((16, (2, 2, 1)), (32, (2, 2, 2)), (64, (2, 2, 2))):
        first = x = L.Conv3D(filters, 3, padding="same", use_bias=False, activation="relu")(x)
        for _ in range(2):
            x = L.Conv3D(filters, 3, padding="same", use_bias=False, activation="relu")(x)
        x = L.BatchNormalization()(L.MaxPool3D(pool)(x + first))
    features = L.Dense(128, activation="relu")(L.GlobalAveragePooling3D()(x))
    x = L.Dense(classes)(L.Dropout(0.3)(features))
    return tf_keras.Model(scan, L.Activation("softmax")(x), name="3dcnn"), tf_keras.Model(scan, features)


def slices2d(height, width, classes=3, slices=8, code=False):
    """Return (whole model, model up to its features); takes slices side by side: (n, height, width * slices, 3)."""
    image = L.Input((height, width * slices, 3))
    base = tf_keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(height, width, 3))
    cap_in = L.Input((1280,))
    cap = tf_keras.Model(cap_in, L.Dense(64)(L.Dropout(0.5)(L.BatchNormalization()(L.Flatten()(cap_in)))))
    parts = []
    for k in range(slices):
        if code:
            part = L.Lambda(lambda x, k=k: x[:, :, k * width : (k + 1) * width, :])(image)
        else:
            part = L.Cropping2D(((0, 0), (k * width, (slices - 1 - k) * width)))(image)
        parts.append(cap(L.GlobalAveragePooling2D()(base(part))))
    features = L.Concatenate(axis=1)(parts)
    return tf_keras.Model(image, _bottleneck(features, classes, "linear")), tf_keras.Model(image, features)


def randomise(model, seed=0):
    """Give every weight a value of its own, so that a swapped or forgotten one shows."""
    generator = np.random.default_rng(seed)
    values = []
    for weight in model.weights:
        shape = tuple(weight.shape)
        drawn = generator.normal(size=shape) * (1.2 / np.sqrt(max(1, np.prod(shape[:-1]))))
        if "variance" in weight.name or "gamma" in weight.name:
            drawn = np.abs(generator.normal(size=shape)) + 0.5
        values.append(drawn.astype(np.float32))
    model.set_weights(values)
