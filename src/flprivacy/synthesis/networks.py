"""The two networks of the GAN, channels last, in ``keras.ops`` alone.

The generator starts from a coarse grid that noise and conditions make, and refines it by upsampling and convolution;
both also scale and shift the features of every level. Its last convolution gives the voxels of a small cube at each
place, which are then laid side by side. The discriminator goes the other way. Its answer is a projection
(arXiv:1802.05637): how real a scan looks, plus how well it fits its conditions. After each update its kernels are
brought back to a spectral norm of 1 at most (arXiv:1802.05957), which needs no data.

No layer looks across the scans of a batch, so that a scan's score and gradient are its own.
"""

import math
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

from flprivacy.models.architecture import Shape

_BASE = (4, 8, 8)  # the coarsest grid has no more places along an axis, or few more
_WIDEST = 8  # times the width of the finest level
_MAPPING, _FEATURES = 128, 128
_SLOPE = 0.2


@dataclass(frozen=True, kw_only=True)
class NetworkSize:
    """What the networks are built for.

    Attributes:
        shape: (depth, height, width) of a scan, in voxels.
        latent: length of the noise vector.
        conditions: length of the encoded conditions.
        width: channels at the finest level of features.
        patch: edge of the cube of voxels at each place of that level.
        mixed_precision: whether to compute in bfloat16.
    """

    shape: Shape
    latent: int
    conditions: int
    width: int
    patch: int = 2
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
    factors: Shape = (min(size.patch, size.shape[0]), size.patch, size.patch)
    grid = _coarser(size.shape, factors)
    found = [Level(grid=grid, channels=size.width, factors=factors)]
    while any(edge > base for edge, base in zip(grid, _BASE, strict=True)):
        depth, height, width = (2 if edge > base else 1 for edge, base in zip(grid, _BASE, strict=True))
        grid = _coarser(grid, (depth, height, width))
        channels = size.width * min(2 ** len(found), _WIDEST)
        found.append(Level(grid=grid, channels=channels, factors=(depth, height, width)))
    return found


def _coarser(grid: Shape, factors: Shape) -> Shape:
    depth, height, width = (math.ceil(edge / factor) for edge, factor in zip(grid, factors, strict=True))
    return depth, height, width


def build_generator(size: NetworkSize) -> keras.Model:
    """Build the generator: noise (n, latent) and conditions (n, width) -> scans (n, depth, height, width, 1).

    Voxels are float32 in (-1, 1): -1 is the lower end of the intensity window and 1 its upper end.
    """
    *finer, coarsest = levels(size)
    latent = keras.Input((size.latent,), name="latent")
    condition = keras.Input((size.conditions,), name="condition")
    with _precision(size):
        embedded = layers.Dense(_MAPPING, kernel_initializer="he_uniform", name="condition_embedding")(condition)
        mixed = layers.Concatenate(name="style_input")([latent, embedded])
        style = _leaky(_dense(mixed, _MAPPING, "style_1"))
        style = _leaky(_dense(style, _MAPPING, "style_2"))
        x = _dense(style, math.prod(coarsest.grid) * coarsest.channels, "base")
        x = layers.Reshape((*coarsest.grid, coarsest.channels), name="base_grid")(x)
        x = _styled(x, style, "base")
        factors = coarsest.factors
        for number, level in reversed(list(enumerate(finer))):
            x = layers.UpSampling3D(factors, name=f"level{number}_up")(x)
            x = _cropped(x, level.grid)
            x = _styled(_conv(x, level.channels, f"level{number}_conv"), style, f"level{number}")
            factors = level.factors
        x = _conv(x, math.prod(factors), "voxels_conv", initializer="glorot_uniform")
        x = _cropped(_side_by_side(x, factors), size.shape)
    scan = layers.Activation("tanh", dtype="float32", name="scan")(x)
    return keras.Model([latent, condition], scan, name="generator")


def build_discriminator(size: NetworkSize) -> keras.Model:
    """Build the discriminator: scans as the generator makes them, and their conditions -> (n, 1) float32 logits.

    A logit above 0 means that a scan looks more like a real one of its conditions than like a generated one.
    """
    scan = keras.Input((*size.shape, 1), name="scan")
    condition = keras.Input((size.conditions,), name="condition")
    found = levels(size)
    with _precision(size):
        x = _padded(scan, found[0])
        edges = tuple(factor + 2 for factor in found[0].factors)
        x = _leaky(_bounded(x, found[0].channels, edges, found[0].factors, "voxels_conv"))
        for number, level in enumerate(found[1:], start=1):
            x = _leaky(_bounded(x, level.channels, (3, 3, 3), level.factors, f"level{number}_conv"))
        x = _leaky(_bounded(x, found[-1].channels, (3, 3, 3), (2, 2, 2), "last_conv"))
        x = layers.Flatten(name="flat")(x)
        features = _leaky(_dense(x, _FEATURES, "features", bounded=True))
        realism = _dense(features, 1, "realism", bounded=True)
        fit = _dense(condition, _FEATURES, "projection", bounded=True)
    fit = layers.Dot(axes=1, dtype="float32", name="fit")([features, fit])
    logit = layers.Add(dtype="float32", name="logit")([realism, fit])
    return keras.Model([scan, condition], logit, name="discriminator")


@keras.saving.register_keras_serializable(package="flprivacy")
class SpectralBound(keras.constraints.Constraint):  # type: ignore[misc]
    """Scales a kernel (..., inputs, outputs) down to a spectral norm of 1, where it is above, as (rest, outputs)."""

    def __call__(self, w: keras.KerasTensor) -> keras.KerasTensor:
        """Return the kernel within the bound."""
        matrix = ops.cast(ops.reshape(w, (-1, w.shape[-1])), "float32")
        rows, columns = matrix.shape
        gram = (
            ops.matmul(ops.transpose(matrix), matrix) if rows > columns else ops.matmul(matrix, ops.transpose(matrix))
        )
        largest = ops.sqrt(ops.maximum(ops.linalg.eigh(gram)[0][-1], 0.0))
        return w / ops.cast(ops.maximum(largest, 1.0), w.dtype)


class _precision:  # noqa: N801
    """Builds layers under the size's precision policy, and gives the global one back."""

    def __init__(self, size: NetworkSize) -> None:
        self._policy = size.policy

    def __enter__(self) -> None:
        self._before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self._policy)

    def __exit__(self, *_: object) -> None:
        keras.config.set_dtype_policy(self._before)


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


def _conv(x: keras.KerasTensor, filters: int, name: str, initializer: str = "he_uniform") -> keras.KerasTensor:
    return layers.Conv3D(filters, 3, padding="same", kernel_initializer=initializer, name=name)(x)


def _bounded(
    x: keras.KerasTensor, filters: int, edges: tuple[int, ...], strides: Shape, name: str
) -> keras.KerasTensor:
    return layers.Conv3D(
        filters,
        edges,
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
