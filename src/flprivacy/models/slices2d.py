"""MobileNetV2 over slices with shared weights: the reference study's two-dimensional network (arXiv:2303.13567)."""

import keras
from keras import layers, ops
from keras.initializers import VarianceScaling

from flprivacy.models.architecture import Shape, scan_input, trunk_model

MINIMAL_SHAPE: Shape = (1, 32, 32)
MAX_SLICES = 8
SLICE_FEATURES = 64


def slice_positions(depth: int) -> tuple[int, ...]:
    """Return the slices that the network looks at, ascending.

    The depth is cut into eight equal parts and the slice in the middle of each is taken; a scan of eight slices or
    fewer is taken whole. ``slice_positions(24)`` is (1, 4, 7, 10, 13, 16, 19, 22).
    """
    slices = min(MAX_SLICES, depth)
    return tuple((2 * k + 1) * depth // (2 * slices) for k in range(slices))


def slices2d_trunk(shape: Shape) -> keras.Model:
    """Build the trunk: scans (n, depth, height, width, 1) -> 64 features a slice, in the order of the slices.

    Each chosen slice goes through MobileNetV2 (Sandler et al., arXiv:1801.04381), global average pooling, BatchNorm,
    Dropout 0.5 and Dense 64, with the same weights for every slice. All slices of a batch are normalised together in
    training, where the reference normalises each slice position apart; in inference there is no difference.

    Args:
        shape: (depth, height, width) of the scans in voxels, at least MINIMAL_SHAPE.
    """
    depth, height, width = shape
    positions = slice_positions(depth)
    scan = scan_input(shape)
    x = ops.take(scan, positions, axis=1)
    x = ops.reshape(x, (-1, height, width, 1))  # (n * slice, height, width, 1)
    x = layers.Concatenate(name="grey_to_rgb")([x, x, x])
    x = _mobilenet(height, width)(x)
    x = layers.BatchNormalization(name="cap_bn")(x)
    x = layers.Dropout(0.5, name="cap_dropout")(x)
    x = layers.Dense(SLICE_FEATURES, name="cap_dense")(x)
    return trunk_model(scan, ops.reshape(x, (-1, len(positions) * SLICE_FEATURES)))


def _mobilenet(height: int, width: int) -> keras.Model:
    model = keras.applications.MobileNetV2(
        input_shape=(height, width, 3), include_top=False, weights=None, pooling="avg", name="mobilenet_v2"
    )
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            # Keras's .999 suits ImageNet's half a million steps. A hospital has tens: its moving averages would stay
            # where they started, and the trained model would answer noise.
            layer.momentum = 0.99
        elif isinstance(layer, layers.DepthwiseConv2D):
            # Keras counts all channels as inputs of a depthwise kernel, though each output sees one.
            layer.depthwise_initializer = VarianceScaling(2.0 * layer.kernel.shape[2], "fan_in", "uniform")
        elif isinstance(layer, layers.Conv2D):
            followed_by_relu = "project" not in layer.name
            layer.kernel_initializer = VarianceScaling(2.0 if followed_by_relu else 1.0, "fan_in", "uniform")
    return model
