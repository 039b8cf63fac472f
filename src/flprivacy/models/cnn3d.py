"""CNN3D: the reference study's residual 3D network (arXiv:2303.13567), its widths divided by four."""

import keras
from keras import layers

from flprivacy.models.architecture import Shape, scan_input, trunk_model

MINIMAL_SHAPE: Shape = (4, 16, 16)
FACTOR = 4
STEM_FILTERS = 64 // FACTOR
BLOCK_FILTERS = (64 // FACTOR, 128 // FACTOR, 256 // FACTOR)
FEATURES = 512 // FACTOR


def cnn3d_trunk(shape: Shape) -> keras.Model:
    """Build the CNN3D trunk: scans (n, depth, height, width, 1) -> 128 features, none negative.

    The network works on (height, width, depth). The first two poolings halve height and width only, the last two halve
    all three and drop an odd remainder.

    Args:
        shape: (depth, height, width) of the scans in voxels, at least MINIMAL_SHAPE.
    """
    scan = scan_input(shape)
    x = layers.Permute((2, 3, 1, 4), name="depth_last")(scan)  # (n, height, width, depth, 1)
    x = _conv(x, STEM_FILTERS, "stem_conv", use_bias=True)
    x = _pool(x, (2, 2, 1), "stem")
    for number, filters in enumerate(BLOCK_FILTERS, start=1):
        x = _residual_block(x, filters, f"block{number}")
        x = _pool(x, (2, 2, 1) if number == 1 else (2, 2, 2), f"block{number}")
    x = layers.GlobalAveragePooling3D(name="global_pool")(x)
    x = layers.Dense(FEATURES, activation="relu", kernel_initializer="he_uniform", name="dense")(x)
    return trunk_model(scan, x)


def _pool(x: keras.KerasTensor, size: tuple[int, int, int], name: str) -> keras.KerasTensor:
    x = layers.MaxPooling3D(size, name=f"{name}_pool")(x)
    return layers.BatchNormalization(name=f"{name}_bn")(x)


def _residual_block(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """Three convolutions; what the first gives skips the other two."""
    first = x = _conv(x, filters, f"{name}_conv1")
    x = _conv(x, filters, f"{name}_conv2")
    x = _conv(x, filters, f"{name}_conv3")
    return layers.Add(name=f"{name}_add")([x, first])


def _conv(x: keras.KerasTensor, filters: int, name: str, use_bias: bool = False) -> keras.KerasTensor:
    convolution = layers.Conv3D(
        filters,
        3,
        padding="same",
        use_bias=use_bias,
        activation="relu",
        kernel_initializer="he_uniform",
        name=name,
    )
    return convolution(x)
