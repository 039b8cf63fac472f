"""Scans from a generator's folder, pictures of them, and a discriminator's opinion of scans for auditors."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from flprivacy.core.array_types import Float32Array, FloatArray, Volumes
from flprivacy.core.checkpoint_events import announce
from flprivacy.core.errors import GeneratorError
from flprivacy.core.png import png_bytes
from flprivacy.core.publish import publish_file
from flprivacy.synthesis.conditions import Categories, Conditions, categories
from flprivacy.synthesis.config import GeneratorConfig
from flprivacy.synthesis.draws import sample_noise
from flprivacy.synthesis.folder import (
    DISCRIMINATOR_FILE,
    WEIGHTS_FILE,
    GeneratorRecord,
    load_network,
    read_generator,
    read_lineage,
)
from flprivacy.synthesis.networks import NetworkSize, build_discriminator, build_generator

Scores = FloatArray

_AT_ONCE = 8  # scans
Image = npt.NDArray[np.uint8]

_MOST_CLASSES, _MOST_SITES, _SEED = 6, 8, 0


class Generator:
    """A trained generator of synthetic scans."""

    def __init__(self, record: GeneratorRecord, network: keras.Model) -> None:
        """Use :func:`load_generator`."""
        self.record = record
        self._network = network
        self._categories = categories_of(record)

    def sample(self, conditions: Conditions, *, seed: int, first: int = 0) -> Volumes:
        """Make one scan for each of n conditions.

        A scan is a function of seed, number and conditions alone: the scans of one long call and of several short ones
        with the right ``first`` are the same bits.

        Args:
            conditions: what each scan is to be of.
            seed: draws the scans.
            first: number of the first of them.

        Returns:
            uint8 (n, depth, height, width): 0 and 255 stand for the ends of ``record.window_hu``.

        Raises:
            ConfigError: a condition that the generator needs is missing, or out of its range.
        """
        encoded = self._categories.encode(conditions)
        return scans(self._network, encoded, seed=seed, first=first)


def load_generator(folder: Path) -> Generator:
    """Load a generator from its folder, of which nothing is taken on trust.

    Raises:
        GeneratorError: a file is missing, unsafe, damaged or of another generator.
    """
    record = read_generator(folder)
    network = build_generator(size_of(record.config, record.shape, categories_of(record)))
    load_network(folder, WEIGHTS_FILE, network)
    return Generator(record, network)


def load_discriminator(private: Path) -> Callable[[Volumes, Conditions], Scores]:
    """Load the discriminator from a generator's private part, for attacks by auditors.

    Returns:
        (uint8 (n, depth, height, width), their conditions) -> (n,) logits: above 0, a scan looks more like one of its
        training scans than like a generated one.

    Raises:
        GeneratorError: a file is missing, unsafe, damaged or of another generator.
    """
    record = read_lineage(private).generator
    known = categories_of(record)
    network = build_discriminator(size_of(record.config, record.shape, known))
    load_network(private, DISCRIMINATOR_FILE, network)

    def scores(volumes: Volumes, conditions: Conditions) -> Scores:
        if volumes.dtype != np.uint8 or volumes.shape[1:] != record.shape:
            raise GeneratorError(f"scans are {volumes.dtype} of {volumes.shape[1:]}; give uint8 of {record.shape}")
        encoded = known.encode(conditions)
        found = np.empty(len(volumes))
        for start in range(0, len(volumes), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            found[part] = np.asarray(network([as_seen(volumes[part]), encoded[part]], training=False))[:, 0]
        return found

    return scores


def categories_of(record: GeneratorRecord) -> Categories:
    """Return the categories of a generator's conditions."""
    return categories(record.conditions, sites=len(record.site_names), classes=len(record.class_names))


def size_of(config: GeneratorConfig, shape: tuple[int, int, int], known: Categories) -> NetworkSize:
    """Return what a configuration's networks are built for."""
    return NetworkSize(
        shape=shape,
        latent=config.latent,
        conditions=known.width,
        width=config.width,
        mixed_precision=config.mixed_precision,
    )


def scans(network: keras.Model, encoded: Float32Array, *, seed: int, first: int = 0) -> Volumes:
    """Return uint8 (n, depth, height, width): the samples of a generator for encoded conditions, from ``first`` on."""
    latent, shape = network.input_shape[0][1], network.output_shape[1:4]
    made = np.empty((len(encoded), *shape), dtype=np.uint8)
    for start in range(0, len(encoded), _AT_ONCE):
        # Batches of one size, so that the last one's scans are computed as any others are.
        noise = sample_noise(first + start + np.arange(_AT_ONCE), latent, shape, seed)
        part = encoded[start : start + _AT_ONCE]
        filled = np.resize(part, (_AT_ONCE, encoded.shape[1]))
        values = np.asarray(network([noise.latent, filled, noise.grain], training=False), dtype=np.float32)[..., 0]
        made[start : start + _AT_ONCE] = np.rint((values[: len(part)] + 1.0) * 127.5).astype(np.uint8)
    return made


def as_seen(volumes: Volumes) -> Float32Array:
    """Return scans as networks see them: float32 (n, depth, height, width, 1) in [-1, 1]."""
    return (volumes.astype(np.float32) / np.float32(127.5) - np.float32(1.0))[..., None]


def write_picture(path: Path, network: keras.Model, known: Categories) -> None:
    """Write middle slices of a generator's scans, the same noise in every picture: a row a class, a column a site.

    Nothing but the generator enters it, so that it may be shown to whoever may have the generator.

    Raises:
        StorageError: the file cannot be written.
    """
    of = dict(zip(known.names, known.counts, strict=True))
    classes, sites = min(of.get("label", 1), _MOST_CLASSES), min(of.get("site", _MOST_SITES), _MOST_SITES)
    label, site = np.divmod(np.arange(classes * sites), sites)
    unknown = np.zeros(len(label), dtype=np.int64)
    asked = Conditions(site=site, label=label, sex=unknown, age_band=unknown)
    made = scans(network, known.encode(asked), seed=_SEED)
    with publish_file(path) as partial:
        partial.write_bytes(png_bytes(tiled(made[:, made.shape[1] // 2], sites)))
    announce(path)


def tiled(images: Image, columns: int) -> Image:
    """Lay images (n, height, width) side by side, in rows of so many; n is a multiple of it."""
    n, height, width = images.shape
    rows = images.reshape(n // columns, columns, height, width)
    return rows.transpose(0, 2, 1, 3).reshape(n // columns * height, columns * width)
