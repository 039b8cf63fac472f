"""I3D: Inception-v1 with its kernels inflated to three dimensions.

Carreira and Zisserman, "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset", arXiv:1705.07750, as the
reference study uses it (arXiv:2303.13567): slices take the place of video frames, and one grey channel is repeated
three times. Layers bear the names of the public Keras weights (``Conv3d_1a_7x7_conv``, ``Conv3d_1a_7x7_bn`` ...),
because legacy weights are matched by name.
"""

from typing import NamedTuple

import keras
from keras import layers

from flprivacy.models.architecture import Shape, scan_input, trunk_model

MINIMAL_SHAPE: Shape = (8, 32, 32)


class Mixed(NamedTuple):
    """Filters of an Inception block: 1x1x1; 1x1x1 then 3x3x3; narrower 1x1x1 then 3x3x3; max pooling then 1x1x1."""

    plain: int
    wide: tuple[int, int]
    narrow: tuple[int, int]
    pooled: int


MIXED = {
    "3b": Mixed(64, (96, 128), (16, 32), 32),
    "3c": Mixed(128, (128, 192), (32, 96), 64),
    "4b": Mixed(192, (96, 208), (16, 48), 64),
    "4c": Mixed(160, (112, 224), (24, 64), 64),
    "4d": Mixed(128, (128, 256), (24, 64), 64),
    "4e": Mixed(112, (144, 288), (32, 64), 64),
    "4f": Mixed(256, (160, 320), (32, 128), 128),
    "5b": Mixed(256, (160, 320), (32, 128), 128),
    "5c": Mixed(384, (192, 384), (48, 128), 128),
}


def i3d_trunk(shape: Shape) -> keras.Model:
    """Build the I3D trunk: scans (n, depth, height, width, 1) -> 1024 features.

    Depth is halved three times and height and width five times, each rounding up. What remains is averaged over height
    and width, then over depth as in the paper: the mean over all pairs of neighbouring positions, of each pair's mean.
    Inner positions therefore count twice what the two ends do: at 24 slices, where three positions remain,
    the weights are 1/4, 1/2, 1/4. Where one position remains (8 slices) it is taken as it is.

    Args:
        shape: (depth, height, width) of the scans in voxels, at least MINIMAL_SHAPE.
    """
    scan = scan_input(shape)
    x = layers.Concatenate(name="grey_to_rgb")([scan, scan, scan])
    x = _conv_bn(x, 64, 7, "Conv3d_1a_7x7", strides=2)
    x = _max_pool(x, (1, 3, 3), (1, 2, 2), "MaxPool2d_2a_3x3")
    x = _conv_bn(x, 64, 1, "Conv3d_2b_1x1")
    x = _conv_bn(x, 192, 3, "Conv3d_2c_3x3")
    x = _max_pool(x, (1, 3, 3), (1, 2, 2), "MaxPool2d_3a_3x3")
    x = _mixed(_mixed(x, "3b"), "3c")
    x = _max_pool(x, (3, 3, 3), (2, 2, 2), "MaxPool2d_4a_3x3")
    for block in ("4b", "4c", "4d", "4e", "4f"):
        x = _mixed(x, block)
    x = _max_pool(x, (2, 2, 2), (2, 2, 2), "MaxPool2d_5a_2x2")
    x = _mixed(_mixed(x, "5b"), "5c")
    depth, height, width = x.shape[1:4]
    window = (min(2, depth), height, width)
    x = layers.AveragePooling3D(window, strides=1, padding="valid", name="global_avg_pool_ed")(x)
    return trunk_model(scan, layers.GlobalAveragePooling3D(name="global_avg_pool_ed2")(x))


def _conv_bn(x: keras.KerasTensor, filters: int, kernel: int, name: str, strides: int = 1) -> keras.KerasTensor:
    convolution = layers.Conv3D(
        filters,
        kernel,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_uniform",
        name=f"{name}_conv",
    )
    x = convolution(x)
    x = layers.BatchNormalization(scale=False, name=f"{name}_bn")(x)  # no gamma, as in the public weights
    return layers.Activation("relu", name=name)(x)


def _max_pool(
    x: keras.KerasTensor, size: tuple[int, int, int], strides: tuple[int, int, int], name: str
) -> keras.KerasTensor:
    return layers.MaxPooling3D(size, strides=strides, padding="same", name=name)(x)


def _mixed(x: keras.KerasTensor, block: str) -> keras.KerasTensor:
    filters = MIXED[block]
    plain = _conv_bn(x, filters.plain, 1, f"Conv3d_{block}_0a_1x1")
    wide = _conv_bn(x, filters.wide[0], 1, f"Conv3d_{block}_1a_1x1")
    wide = _conv_bn(wide, filters.wide[1], 3, f"Conv3d_{block}_1b_3x3")
    narrow = _conv_bn(x, filters.narrow[0], 1, f"Conv3d_{block}_2a_1x1")
    narrow = _conv_bn(narrow, filters.narrow[1], 3, f"Conv3d_{block}_2b_3x3")
    pooled = _max_pool(x, (3, 3, 3), (1, 1, 1), f"MaxPool2d_{block}_3a_3x3")
    pooled = _conv_bn(pooled, filters.pooled, 1, f"Conv3d_{block}_3b_1x1")
    return layers.Concatenate(name=f"Mixed_{block}")([plain, wide, narrow, pooled])
