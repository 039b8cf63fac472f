"""A small residual 3D network with GroupNorm, for CPUs and for differential privacy.

No layer looks across the scans of a batch (no BatchNorm) and none draws random numbers (no dropout), so that a scan's
gradient is its own, which is what DP-SGD clips, and a step is a function of weights and batch alone.
"""

import keras
from keras import layers, ops

from flprivacy.models.architecture import Shape, scan_input, trunk_model

MINIMAL_SHAPE: Shape = (4, 16, 16)
STEM_FILTERS = 8
BLOCK_FILTERS = (16, 32, 64)
GROUPS = 4
EPSILON = 1e-5


def cnn3d_small_trunk(shape: Shape) -> keras.Model:
    """Build the trunk: scans (n, depth, height, width, 1) -> 128 features, none negative.

    Intensities are moved from [0, 1] to [-1, 3], so that zero lies where lung gives way to ground glass (-650 HU in a
    window from -1000 to 400 HU) and not in the air around the patient. The stem is not normalised, so that absolute
    intensity, which is calibrated in CT, gets through. It halves all three axes, as does each block, which adds one
    residual convolution, both with GroupNorm (Wu and He, arXiv:1803.08494). Features are the mean and the standard
    deviation of the last 64 maps over the volume: how much of something there is, and how unevenly it is spread.

    Args:
        shape: (depth, height, width) of the scans in voxels, at least MINIMAL_SHAPE.
    """
    scan = scan_input(shape)
    x = layers.Rescaling(4.0, offset=-1.0, name="centre")(scan)
    x = _conv(x, STEM_FILTERS, "stem_conv", strides=(2, 2, 2), use_bias=True)
    x = layers.Activation("relu", name="stem_relu")(x)
    for number, filters in enumerate(BLOCK_FILTERS, start=1):
        x = _block(x, filters, f"block{number}")
    mean = layers.GlobalAveragePooling3D(name="mean_pool")(x)
    # EPSILON keeps the square root's gradient finite where a map is constant.
    deviation = ops.sqrt(ops.var(x, axis=(1, 2, 3)) + EPSILON)
    return trunk_model(scan, layers.Concatenate(name="pool")([mean, deviation]))


def _block(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    x = _norm(_conv(x, filters, f"{name}_down_conv", strides=(2, 2, 2)), f"{name}_down_norm")
    x = layers.Activation("relu", name=f"{name}_down_relu")(x)
    residual = _norm(_conv(x, filters, f"{name}_residual_conv"), f"{name}_residual_norm")
    x = layers.Add(name=f"{name}_add")([x, residual])
    return layers.Activation("relu", name=f"{name}_relu")(x)


def _conv(
    x: keras.KerasTensor, filters: int, name: str, strides: tuple[int, int, int] = (1, 1, 1), use_bias: bool = False
) -> keras.KerasTensor:
    convolution = layers.Conv3D(
        filters, 3, strides=strides, padding="same", use_bias=use_bias, kernel_initializer="he_uniform", name=name
    )
    return convolution(x)


def _norm(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.GroupNormalization(GROUPS, epsilon=EPSILON, name=name)(x)
