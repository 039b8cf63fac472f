"""The two networks of the GAN, channels last, in ``keras.ops`` alone.

The generator starts from a coarse grid that noise and conditions make, and refines it by upsampling and convolution;
both also scale and shift the features of every level. Features of the finest level are enlarged by linear
interpolation and mixed place by place: sharp borders are thresholds of smooth functions, and nothing repeats from voxel
to voxel as it would behind strided convolutions. The noise of a CT image comes from outside, as grain that the
generator scales.

The discriminator goes the other way. Its answer is a projection (arXiv:1802.05637): how real a scan looks, plus how
well it fits its conditions. After each update its convolutions' kernels are brought back to a spectral norm of 1 at
most (arXiv:1802.05957), which needs no data.

No layer looks across the scans of a batch, so that a scan's score and gradient are its own.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
from keras import layers, ops

from flprivacy.models.architecture import Shape

_BASE = (4, 8, 8)  # the coarsest grid has no more places along an axis, or few more
_WIDEST = 8  # times the width of the finest level
_MAPPING, _FEATURES, _BORDERS = 128, 128, 4
_SLOPE = 0.2
TRUNK, HEAD = "trunk", "head"  # of the discriminator


@dataclass(frozen=True, kw_only=True)
class NetworkSize:
    """What the networks are built for.

    Attributes:
        shape: (depth, height, width) of a scan, in voxels.
        latent: length of the noise vector.
        conditions: length of the encoded conditions.
        width: channels at the finest level of features, whose grid is half the scan's.
        mixed_precision: whether to compute in bfloat16.
    """

    shape: Shape
    latent: int
    conditions: int
    width: int
    mixed_precision: bool = False

    @property
    def policy(self) -> str:
        """Name of the Keras policy that the networks compute in."""
        return "mixed_bfloat16" if self.mixed_precision else "float32"


@dataclass(frozen=True, kw_only=True)
class Level:
    """One resolution of features: its grid, its channels, and the factors to the next finer one."""

    grid: Shape
    channels: int
    factors: Shape


def levels(size: NetworkSize) -> list[Level]:
    """Return the resolutions from the finest to the coarsest; ``factors`` of the finest lead to voxels."""
    grid = _coarser(size.shape, (2, 2, 2))
    found = [Level(grid=grid, channels=size.width, factors=(2, 2, 2))]
    while len(found) < 2 or any(edge > base for edge, base in zip(grid, _BASE, strict=True)):
        depth, height, width = (2 if edge > base else 1 for edge, base in zip(grid, _BASE, strict=True))
        grid = _coarser(grid, (depth, height, width))
        channels = size.width * min(2 ** len(found), _WIDEST)
        found.append(Level(grid=grid, channels=channels, factors=(depth, height, width)))
    return found


def _coarser(grid: Shape, factors: Shape) -> Shape:
    depth, height, width = (math.ceil(edge / factor) for edge, factor in zip(grid, factors, strict=True))
    return depth, height, width


def build_generator(size: NetworkSize) -> keras.Model:
    """Build the generator: noise (n, latent), conditions (n, width) and grain -> scans (n, depth, height, width, 1).

    Grain is white noise of the scan's shape; the generator says where a scan has how much of it. Voxels are float32 in
    [-1, 1]: -1 is the lower end of the intensity window and 1 its upper end.
    """
    finest, *coarser = levels(size)
    latent = keras.Input((size.latent,), name="latent")
    condition = keras.Input((size.conditions,), name="condition")
    grain = keras.Input((*size.shape, 1), name="grain")
    with _precision(size):
        embedded = layers.Dense(_MAPPING, kernel_initializer="he_uniform", name="condition_embedding")(condition)
        mixed = layers.Concatenate(name="style_input")([latent, embedded])
        style = _leaky(_dense(mixed, _MAPPING, "style_1"))
        style = _leaky(_dense(style, _MAPPING, "style_2"))
        x = _refined(style, coarser)
        x = _enlarged(_dense(x, finest.channels, "finest_mix"), coarser[0].factors)
        x = _styled(_cropped(x, finest.grid), style, "finest")
        scan = _cropped(_voxels(x, finest.factors), size.shape)
        amount = _cropped(_enlarged(_dense(x, 1, "grain_amount"), finest.factors), size.shape)
        scan = scan + amount * layers.Identity(name="grain_cast")(grain)
    scan = layers.Activation("tanh", dtype="float32", name="made")(scan)
    return keras.Model([latent, condition, grain], scan, name="generator")


def _refined(style: keras.KerasTensor, coarser: Sequence[Level]) -> keras.KerasTensor:
    """Return features at the finest of some levels, from the coarsest on."""
    base = coarser[-1]
    x = _dense(style, math.prod(base.grid) * base.channels, "base")
    x = _styled(layers.Reshape((*base.grid, base.channels), name="base_grid")(x), style, "base")
    for number in reversed(range(len(coarser) - 1)):
        level = coarser[number]
        x = layers.UpSampling3D(coarser[number + 1].factors, name=f"level{number + 1}_up")(x)
        x = _conv(_cropped(x, level.grid), level.channels, f"level{number + 1}_conv")
        x = _styled(x, style, f"level{number + 1}")
    return x


def _voxels(x: keras.KerasTensor, factors: Shape) -> keras.KerasTensor:
    """Return the voxels at each place of features: sharp borders of functions that are smooth in the slice plane."""
    depth, height, width = factors
    x = _leaky(_enlarged(_dense(x, _BORDERS, "borders"), (1, height, width)))
    return _side_by_side(_dense(x, depth, "voxels"), (depth, 1, 1))


def build_discriminator(size: NetworkSize) -> keras.Model:
    """Build the discriminator: scans as the generator makes them, and their conditions -> (n, 1) float32 logits.

    A logit above 0 means that a scan looks more like a real one of its conditions than like a generated one.
    """
    scan = keras.Input((*size.shape, 1), name="scan")
    condition = keras.Input((size.conditions,), name="condition")
    trunk, head = _trunk(size), _head(size)
    return keras.Model([scan, condition], head([trunk(scan), condition]), name="discriminator")


def _trunk(size: NetworkSize) -> keras.Model:
    """Return what the discriminator sees in a scan: (n, depth, height, width, 1) -> (n, feature)."""
    scan = keras.Input((*size.shape, 1), name="scan")
    found = levels(size)
    with _precision(size):
        x = _cubes(_padded(scan, found[0]), found[0].factors)
        x = _leaky(_dense(x, found[0].channels, "cubes", bounded=True))
        for number, level in enumerate(found[1:], start=1):
            x = _leaky(_bounded(x, level.channels, level.factors, f"level{number}_conv"))
        x = _leaky(_bounded(x, found[-1].channels, (2, 2, 2), "last_conv"))
        features = _leaky(_dense(layers.Flatten(name="flat")(x), _FEATURES, "features"))
    return keras.Model(scan, features, name=TRUNK)


def _head(size: NetworkSize) -> keras.Model:
    """Return what it makes of that: features (n, feature) and conditions (n, width) -> (n, 1) float32 logits."""
    features = keras.Input((_FEATURES,), name="features")
    condition = keras.Input((size.conditions,), name="condition")
    with _precision(size):
        realism = _dense(features, 1, "realism")
        fit = _dense(condition, _FEATURES, "projection")
    fit = layers.Dot(axes=1, dtype="float32", name="fit")([features, fit])
    logit = layers.Add(dtype="float32", name="logit")([realism, fit])
    return keras.Model([features, condition], logit, name=HEAD)


def _cubes(x: keras.KerasTensor, factors: Shape) -> keras.KerasTensor:
    """Gather the voxels of each cube as channels: (n, d*a, h*b, w*c, 1) -> (n, d, h, w, a*b*c)."""
    a, b, c = factors
    depth, height, width = (edge // factor for edge, factor in zip(x.shape[1:4], factors, strict=True))
    x = ops.reshape(x, (-1, depth, a, height, b, width, c))
    x = ops.transpose(x, (0, 1, 3, 5, 2, 4, 6))  # (n, d, h, w, a, b, c)
    return ops.reshape(x, (-1, depth, height, width, a * b * c))


@keras.saving.register_keras_serializable(package="flprivacy")
class SpectralBound(keras.constraints.Constraint):  # type: ignore[misc]
    """Scales a kernel (..., inputs, outputs) down to a spectral norm of 1, where it is above, as (rest, outputs)."""

    def __call__(self, w: keras.KerasTensor) -> keras.KerasTensor:
        """Return the kernel within the bound."""
        matrix = ops.cast(ops.reshape(w, (-1, w.shape[-1])), "float32")
        matrix = ops.transpose(matrix) if matrix.shape[0] < matrix.shape[1] else matrix
        eigenvalues, _ = ops.linalg.eigh(ops.matmul(ops.transpose(matrix), matrix))
        largest = ops.sqrt(ops.maximum(eigenvalues[-1], 0.0))
        return w / ops.cast(ops.maximum(largest, 1.0), w.dtype)


@contextmanager
def _precision(size: NetworkSize) -> Iterator[None]:
    """Build layers under the size's precision policy, and give the global one back."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(size.policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _styled(x: keras.KerasTensor, style: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Normalise each place over its channels, then scale and shift the channels by the style."""
    channels = x.shape[-1]
    x = layers.LayerNormalization(center=False, scale=False, name=f"{name}_norm")(x)
    both = layers.Reshape((1, 1, 1, 2 * channels), name=f"{name}_style")(_dense(style, 2 * channels, f"{name}_affine"))
    return _leaky(x * (1.0 + both[..., :channels]) + both[..., channels:])


def _leaky(x: keras.KerasTensor) -> keras.KerasTensor:
    return ops.leaky_relu(x, _SLOPE)


def _dense(x: keras.KerasTensor, units: int, name: str, *, bounded: bool = False) -> keras.KerasTensor:
    bound = SpectralBound() if bounded else None
    return layers.Dense(units, kernel_initializer="glorot_uniform", kernel_constraint=bound, name=name)(x)


def _conv(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    return layers.Conv3D(filters, 3, padding="same", kernel_initializer="he_uniform", name=name)(x)


def _bounded(x: keras.KerasTensor, filters: int, strides: Shape, name: str) -> keras.KerasTensor:
    return layers.Conv3D(
        filters,
        3,
        strides=strides,
        padding="same",
        kernel_initializer="he_uniform",
        kernel_constraint=SpectralBound(),
        name=name,
    )(x)


def _side_by_side(x: keras.KerasTensor, factors: Shape) -> keras.KerasTensor:
    """Lay the cube of voxels at each place side by side: (n, d, h, w, a*b*c) -> (n, d*a, h*b, w*c, 1)."""
    depth, height, width = x.shape[1:4]
    a, b, c = factors
    x = ops.reshape(x, (-1, depth, height, width, a, b, c))
    x = ops.transpose(x, (0, 1, 4, 2, 5, 3, 6))  # (n, d, a, h, b, w, c)
    return ops.reshape(x, (-1, depth * a, height * b, width * c, 1))


def _enlarged(x: keras.KerasTensor, factors: Shape) -> keras.KerasTensor:
    """Enlarge a grid (n, d, h, w, channel) by linear interpolation along each axis."""
    for axis, factor in enumerate(factors, start=1):
        weights = _interpolation(x.shape[axis], factor)
        x = ops.moveaxis(ops.tensordot(x, ops.cast(weights, x.dtype), axes=[[axis], [1]]), -1, axis)
    return x


def _interpolation(edge: int, factor: int) -> npt.NDArray[np.float32]:
    """Return (edge * factor, edge): each fine place as a mixture of the two coarse places nearest to it."""
    places = ((np.arange(edge * factor) + 0.5) / factor - 0.5).clip(0, edge - 1)
    return np.maximum(0.0, 1.0 - np.abs(places[:, None] - np.arange(edge))).astype(np.float32)


def _cropped(x: keras.KerasTensor, grid: Shape) -> keras.KerasTensor:
    """Cut off what rounding up to whole factors added."""
    depth, height, width = grid
    return x if tuple(x.shape[1:4]) == grid else x[:, :depth, :height, :width]


def _padded(scan: keras.KerasTensor, finest: Level) -> keras.KerasTensor:
    """Fill a scan up with air to whole cubes."""
    whole = [edge * factor for edge, factor in zip(finest.grid, finest.factors, strict=True)]
    missing = [int(edge - has) for edge, has in zip(whole, scan.shape[1:4], strict=True)]
    if not np.any(missing):
        return scan
    return ops.pad(scan, [(0, 0), *((0, m) for m in missing), (0, 0)], constant_values=-1.0)


def real_loss(logits: keras.KerasTensor) -> keras.KerasTensor:
    """Return (n,) the discriminator's loss of real scans: ``-log sigmoid(logit)``."""
    return ops.softplus(-logits[:, 0])


def fake_loss(logits: keras.KerasTensor) -> keras.KerasTensor:
    """Return (n,) the discriminator's loss of generated scans: ``-log(1 - sigmoid(logit))``."""
    return ops.softplus(logits[:, 0])


def generator_loss(logits: keras.KerasTensor) -> keras.KerasTensor:
    """Return (n,) the generator's loss of the discriminator's logits of its scans: ``-log sigmoid(logit)``."""
    return ops.softplus(-logits[:, 0])


def gradient_penalty(gradient: keras.KerasTensor) -> keras.KerasTensor:
    """Return (n,) half the squared norm of the logits' gradient at real scans (R1, arXiv:1801.04406)."""
    return 0.5 * ops.sum(ops.square(gradient), axis=(1, 2, 3, 4))
