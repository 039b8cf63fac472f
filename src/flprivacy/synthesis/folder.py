"""The generator's folder: what may leave the building, and the private part that auditors keep.

.. code-block:: text

    generator.json, generator.weights.h5    the generator, which may be published
    samples/step-000400.png                 what it made as it learnt: middle slices by class and site
    private/lineage.json                    GeneratorLineage: cohort, seeds, mix of conditions; never published
    private/discriminator.weights.h5        tells who was trained on (LOGAN, arXiv:1705.07663); never published
    private/members.json, history.json      pseudonyms of the training scans; losses

Importing this module imports no Keras.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flprivacy.core.digests import digest_file, digest_json
from flprivacy.core.errors import ConfigError, GeneratorError, TargetError
from flprivacy.core.parsing import from_mapping
from flprivacy.core.target import PrivacyStatement
from flprivacy.models.weights import (
    TensorHeader,
    TensorSpec,
    match,
    read_tensors,
    specs_of,
    tensors_digest,
    vet_tensors,
    write_tensors,
)
from flprivacy.synthesis.config import GeneratorConfig
from flprivacy.targets.folder import plain_file, read_json

if TYPE_CHECKING:
    import keras

    from flprivacy.core.array_types import Array

T = TypeVar("T")

SCHEMA_VERSION = 1
GENERATOR_FILE, WEIGHTS_FILE = "generator.json", "generator.weights.h5"
PRIVATE_FOLDER, LINEAGE_FILE, DISCRIMINATOR_FILE = "private", "lineage.json", "discriminator.weights.h5"
MEMBERS_FILE, HISTORY_FILE = "members.json", "history.json"
SAMPLES_FOLDER = "samples"
_NO_CLASSES = 2  # the least that a weights file's header can say; these networks are no classifiers
_MOST_CONDITIONS = 4096  # sites or classes
MOST_VOXELS = 1 << 26  # of one scan
_REMEDY = "copy the generator's folder again, or train it again"


@dataclass(frozen=True, kw_only=True)
class GeneratorRecord:
    """Contents of ``generator.json``: what whoever holds the generator may know. The rest is GeneratorLineage."""

    shape: tuple[int, int, int]  # (depth, height, width) of its scans, in voxels
    window_hu: tuple[float, float]  # intensities that 0 and 255 of its scans stand for
    spacing_mm: tuple[float, float, float] | None  # (depth, height, width) of a voxel; None where training scans differ
    site_names: tuple[str, ...]  # that it was trained on
    class_names: tuple[str, ...]
    training: dict[str, Any]  # the GeneratorConfig that it was trained with, without its seeds
    digest: str  # SHA-256 over its weights, this record's facts and how it was trained
    sha256: str  # of the weights file
    epsilon: float | None = None  # spent differential-privacy budget; None where not private
    delta: float | None = None
    dp_events: tuple[dict[str, Any], ...] = ()  # what the training did, for the accountant
    privacy: PrivacyStatement | None = None  # who is protected, in words and numbers; None where not private
    schema_version: int = SCHEMA_VERSION

    @property
    def config(self) -> GeneratorConfig:
        """How it was trained; seeds are the default ones."""
        return from_mapping(GeneratorConfig, self.training, "training")

    @property
    def conditions(self) -> tuple[str, ...]:
        """What its scans are generated for, out of ``site``, ``label``, ``sex`` and ``age``."""
        return self.config.conditions


@dataclass(frozen=True, kw_only=True)
class GeneratorLineage:
    """What auditors keep of a generator and nobody else gets: contents of ``private/lineage.json``."""

    generator: GeneratorRecord  # that it belongs to
    cohort_digest: str  # of the cohort that it was trained on
    training: dict[str, Any]  # the whole GeneratorConfig, seeds among it
    members_key: str  # of the pseudonyms in ``members.json``, as flprivacy.core.target.Lineage has it
    n_train: int  # scans that it was trained on
    # (site, class, sex, age band, scans) for each mix that occurs among them
    histogram: tuple[tuple[int, ...], ...] = field(default=())


def generator_digest(weights: str, training: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Return what caches and lineage key on; ``weights`` is the digest of the generator's tensors."""
    return digest_json({"weights": weights, "training": dict(training), "facts": dict(facts)})


def read_generator(folder: Path) -> GeneratorRecord:
    """Read and check a generator's folder: its record, and that the weights are those that the record names.

    Raises:
        GeneratorError: a file is missing, damaged, lies outside the folder, or is of another generator.
    """
    path = folder / GENERATOR_FILE
    record = _checked(path, _read(GeneratorRecord, path))
    with _generator_errors():
        weights = plain_file(folder, WEIGHTS_FILE, GENERATOR_FILE)
    if digest_file(weights) != record.sha256:
        raise GeneratorError(f"{weights}: SHA-256 differs from the one in {GENERATOR_FILE}; {_REMEDY}")
    return record


def read_lineage(private: Path) -> GeneratorLineage:
    """Read the private part of a generator from its folder.

    Raises:
        GeneratorError: it is missing or damaged.
    """
    return _read(GeneratorLineage, private / LINEAGE_FILE)


def facts_of(record: GeneratorRecord) -> dict[str, Any]:
    """Return what a generator's digest covers beside weights and training."""
    return {
        "shape": list(record.shape),
        "window_hu": list(record.window_hu),
        "site_names": list(record.site_names),
        "class_names": list(record.class_names),
    }


def write_network(path: Path, network: "keras.Model", shape: tuple[int, int, int]) -> str:
    """Write the weights of a network for scans of a shape, atomically, and return the digest of its tensors."""
    tensors = _tensors(network)
    header = TensorHeader(architecture=network.name, shape=shape, n_classes=_NO_CLASSES)
    write_tensors(path, header, tensors)
    return tensors_digest(tensors)


def load_network(folder: Path, name: str, network: "keras.Model") -> None:
    """Put the weights of a file, which may be a stranger's, into a network: all of them or none.

    Raises:
        GeneratorError: the file is missing, unsafe, damaged, or of a network of another kind or size.
    """
    variables = {v.path: v for v in network.weights}

    def fits(header: TensorHeader, found: Mapping[str, TensorSpec]) -> None:
        report = match(specs_of(variables), found)
        if header.architecture != network.name or report.missing or report.left_over:
            raise TargetError(
                f"{folder / name}: weights of a {header.architecture} of {header.shape}: {report.matched} of "
                f"{report.total} tensors fit the {network.name} that {GENERATOR_FILE} describes; {_REMEDY}"
            )

    with _generator_errors():
        path = plain_file(folder, name, GENERATOR_FILE)
        vet_tensors(path)
        _, tensors = read_tensors(path, fits)
    for tensor, variable in variables.items():
        variable.assign(tensors[tensor])


@contextmanager
def _generator_errors() -> Iterator[None]:
    """Say of a generator's file what is said of a target's."""
    try:
        yield
    except TargetError as error:
        raise GeneratorError(str(error)) from error


def _read(kind: type[T], path: Path) -> T:
    with _generator_errors():
        if not path.is_file():
            raise GeneratorError(f"{path}: no such file; give the folder of a generator, as train_generator writes it")
        mapping = read_json(path)
    try:
        return from_mapping(kind, mapping, path.name)
    except ConfigError as error:
        raise GeneratorError(f"{path}: not a generator's record ({error}); {_REMEDY}") from error


def _checked(path: Path, record: GeneratorRecord) -> GeneratorRecord:
    """Refuse a record that contradicts itself or asks for more memory than any generator needs."""
    if record.schema_version != SCHEMA_VERSION:
        raise GeneratorError(
            f"{path}: schema_version is {record.schema_version}; this version reads {SCHEMA_VERSION}; upgrade flprivacy"
        )
    low, high = record.window_hu
    rules = {
        "shape": (record.shape, min(record.shape) >= 1 and math.prod(record.shape) <= MOST_VOXELS),
        "window_hu": (record.window_hu, low < high),
        "site_names": (len(record.site_names), 1 <= len(record.site_names) <= _MOST_CONDITIONS),
        "class_names": (len(record.class_names), 1 <= len(record.class_names) <= _MOST_CONDITIONS),
    }
    for field_name, (value, holds) in rules.items():
        if not holds:
            raise GeneratorError(f"{path}: {field_name} is {value}, which no generator has; {_REMEDY}")
    try:
        config = record.config
    except ConfigError as error:
        raise GeneratorError(f"{path}: not a generator's record ({error}); {_REMEDY}") from error
    if max(config.latent, config.width) > _MOST_CONDITIONS:
        raise GeneratorError(f"{path}: latent {config.latent} and width {config.width} are out of range; {_REMEDY}")
    return record


def _tensors(network: "keras.Model") -> "dict[str, Array]":
    return {v.path: v.numpy() for v in network.weights}
