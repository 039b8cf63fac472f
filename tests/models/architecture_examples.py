"""Naive references and small inputs for the tests of architectures."""

import numpy as np


def scans(shape, n=2, seed=0):
    """(n, depth, height, width, 1) float32 in [0, 1]."""
    return np.random.default_rng(seed).random((n, *shape, 1)).astype(np.float32)


def tensors(model):
    """Path -> values of a Keras model's weights."""
    return {w.path: np.asarray(w) for w in model.weights}


def randomise(model, seed=0):
    """Give every weight a value that is not its initial one, so that a forgotten one shows."""
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        values = generator.normal(scale=0.1, size=weight.shape)
        weight.assign(np.abs(values) + 0.5 if "variance" in weight.name or weight.name == "gamma" else values)


def naive_conv(x, kernel, strides, bias=None):
    """Convolve (depth, height, width, in) with (kd, kh, kw, in, out), padded as Keras's "same"."""
    size = kernel.shape[:3]
    out = [-(-n // s) for n, s in zip(x.shape, strides)]
    total = [max((o - 1) * s + k - n, 0) for o, s, k, n in zip(out, strides, size, x.shape)]
    x = np.pad(x.astype(np.float64), [(t // 2, t - t // 2) for t in total] + [(0, 0)])
    result = np.zeros((*out, kernel.shape[-1]))
    for d, h, w in np.ndindex(*out):
        corner = [i * s for i, s in zip((d, h, w), strides)]
        window = x[tuple(slice(c, c + k) for c, k in zip(corner, size))]
        result[d, h, w] = np.tensordot(window, kernel, axes=4)
    return result if bias is None else result + bias


def naive_group_norm(x, gamma, beta, groups, epsilon):
    """Normalise each group of channels of (depth, height, width, channel) over the whole volume."""
    result = np.empty_like(x)
    width = x.shape[-1] // groups
    for start in range(0, x.shape[-1], width):
        part = x[..., start : start + width]
        result[..., start : start + width] = (part - part.mean()) / np.sqrt(part.var() + epsilon)
    return result * gamma + beta


def naive_max_pool(x, size):
    """Maximum over blocks of (depth, height, width, channel); an odd remainder is dropped."""
    out = [n // s for n, s in zip(x.shape, size)]
    result = np.empty((*out, x.shape[-1]))
    for corner in np.ndindex(*out):
        window = tuple(slice(c * s, (c + 1) * s) for c, s in zip(corner, size))
        result[corner] = x[window].max(axis=(0, 1, 2))
    return result
