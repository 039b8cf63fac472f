"""The target folder: ``target.json`` and one weights file a model.

Nothing here imports Keras until a model is built, so that reading a record stays quick.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flprivacy.core.digests import digest_file
from flprivacy.core.errors import ConfigError, TargetError
from flprivacy.core.parsing import from_mapping, to_mapping
from flprivacy.core.publish import link_or_copy, publish_folder, write_json
from flprivacy.core.target import SCHEMA_VERSION, TARGET_FILE, ModelRecord, TargetRecord
from flprivacy.core.target_source import CUSTOM, HU_WINDOW, UNIT, range_of
from flprivacy.models.weights import MOST_CLASSES, MOST_VOXELS
from flprivacy.targets.digests import (
    custom_origin,
    graph_facts,
    is_arrays,
    network_facts,
    target_digest,
    weights_digests,
)

if TYPE_CHECKING:
    from flprivacy.models.architecture import TargetModel
    from flprivacy.models.graphs.network import GraphNetwork

_FORMERLY = ("members", "canaries")  # files that older versions named here and kept beside the weights
ROLES = ("target", "baseline")
MAX_RECORD_BYTES = 1 << 24
_MOST_SHOWN = 500  # of a value in a message


def read_target(folder: Path) -> TargetRecord:
    """Read and check a target folder: its record, and that every weights file is the one that the record names.

    Weights are hashed but not loaded; see :func:`load_model`. Whether the record's digest is true is
    :func:`verify_target`'s question.

    Raises:
        TargetError: ``target.json`` is missing, is not a target's record or contradicts itself; a file that it names
            is missing, lies outside the folder or has changed.
    """
    record = read_record(folder / TARGET_FILE)
    for model in record.models:
        path = plain_file(folder, model.weights)
        if digest_file(path) != model.sha256:
            raise TargetError(
                f"{path}: SHA-256 differs from the one in {TARGET_FILE}; the file is damaged or was replaced: "
                "copy the target again, or train it again"
            )
    return record


def verify_target(folder: Path) -> TargetRecord:
    """Read a target from elsewhere: :func:`read_target`, and its digest must follow from weights and training.

    Caches and lineage key on the digest, so that a record with another target's digest would be given that target's
    results.

    Raises:
        TargetError: as :func:`read_target`; or the digest is another, or a weights file is damaged.
    """
    record = read_target(folder)
    digest = target_digest(
        weights=weights_digests(folder, record),
        training=record.training,
        cohort_digest=record.cohort_digest,
        protocol=record.protocol,
    )
    if record.digest != digest:
        raise TargetError(
            f"{folder / TARGET_FILE}: digest is {record.digest!r}, but weights and training give {digest}; the record "
            "was changed: copy the target again, or write the digest that target_digest gives"
        )
    return record


def model_record(record: TargetRecord, name: str) -> ModelRecord:
    """Return the record of the model called ``name``."""
    for model in record.models:
        if model.name == name:
            return model
    known = ", ".join(model.name for model in record.models)
    raise TargetError(f"target {record.name!r} has no model {name!r}; it has {known}")


def load_model(
    folder: Path,
    record: TargetRecord,
    model_name: str,
    *,
    into: "TargetModel | None" = None,
    window_hu: tuple[float, float] = HU_WINDOW,
) -> "TargetModel":
    """Return a target's network with the weights of one of its models.

    Args:
        into: the network that an earlier call returned for the same target: its weights are replaced, which saves
            building it; None: a new one.
        window_hu: what 0 and 1 of the scans stand for, which a network that takes HU needs to know.

    Raises:
        TargetError: the target has no such model, its architecture is unknown or takes no such scans, or the weights
            do not fit.
    """
    from flprivacy.models.architecture import taking
    from flprivacy.models.registry import build
    from flprivacy.models.weights import load_weights

    path = plain_file(folder, model_record(record, model_name).weights)
    if record.shape is None:
        raise TargetError(f"{path}: is no network; import the target again")
    if record.architecture == CUSTOM:
        return _load_custom(path, record, into, window_hu)
    try:
        model = into or taking(
            build(record.architecture, shape=record.shape, n_classes=record.n_classes, seed=0),
            _input_bounds(record, window_hu),
        )
    except (ConfigError, TargetError) as error:
        raise TargetError(f"{folder / TARGET_FILE}: {error}") from error
    load_weights(model, path)
    return model


def _load_custom(
    path: Path, record: TargetRecord, into: "TargetModel | None", window_hu: tuple[float, float]
) -> "TargetModel":
    from flprivacy.models.foreign.custom import load_custom

    origin = custom_origin(path, record)
    facts: dict[str, Any] = dict(network_facts(origin))
    model = load_custom(path, origin.feature_layer, window_hu=window_hu, **facts).model
    if (model.shape, model.n_classes) != (record.shape, record.n_classes):
        raise TargetError(
            f"{path}: takes {model.shape} and has {model.n_classes} classes, {TARGET_FILE} says {record.shape} and "
            f"{record.n_classes}; import the target again"
        )
    if into is None:
        return model
    into.model.set_weights(model.model.get_weights())
    into.trunk.set_weights(model.trunk.get_weights())
    return into


def _input_bounds(record: TargetRecord, window_hu: tuple[float, float]) -> tuple[float, float]:
    stated = record.origin.input_range if record.origin is not None else ""
    return range_of(stated or UNIT, window_hu) or (0.0, 1.0)


def load_network(
    folder: Path, record: TargetRecord, model_name: str, window_hu: tuple[float, float] = HU_WINDOW
) -> "GraphNetwork":
    """Return a model of a target that came as an ONNX file.

    Raises:
        TargetError: the target has no such model, or its file cannot be used.
    """
    from flprivacy.core.tensorflow_environment import threads
    from flprivacy.models.graphs.network import load_graph

    path = plain_file(folder, model_record(record, model_name).weights)
    facts = graph_facts(custom_origin(path, record))
    return load_graph(path, stated=facts, shape=record.shape, threads=threads(), window_hu=window_hu)


def read_record(path: Path) -> TargetRecord:
    """Read and check a ``target.json``, wherever its weights are.

    Raises:
        TargetError: it is missing, is not a target's record or contradicts itself.
    """
    mapping = read_json(path)
    version = mapping.get("schema_version", SCHEMA_VERSION) if isinstance(mapping, dict) else SCHEMA_VERSION
    if version != SCHEMA_VERSION:
        raise TargetError(
            f"{path}: schema_version is {version!r}; this version reads {SCHEMA_VERSION}; upgrade flprivacy"
        )
    if isinstance(mapping, dict):
        mapping = {name: value for name, value in mapping.items() if name not in _FORMERLY}
    try:
        record = from_mapping(TargetRecord, mapping, TARGET_FILE)
    except ConfigError as error:
        raise TargetError(f"{path}: not a target's record ({error}); mend it, or train the target again") from error
    _check_record(path, record)
    return record


def read_json(path: Path) -> Any:
    """Return what a JSON file of a target holds.

    Raises:
        TargetError: it is missing, larger than any record, or not JSON.
    """
    if not path.is_file():
        raise TargetError(f"{path}: no such file; give the folder of a target, as the training step writes it")
    if path.stat().st_size > MAX_RECORD_BYTES:
        raise TargetError(f"{path}: larger than {MAX_RECORD_BYTES} bytes, so not a target's record; train again")
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise TargetError(f"{path}: not a target's record ({error}); mend it, or train the target again") from error


def _check_record(path: Path, record: TargetRecord) -> None:
    """Refuse a record that contradicts itself."""
    names = [model.name for model in record.models]
    files = [model.weights for model in record.models]
    rules = {
        "role": (record.role, record.role in ROLES, f"must be one of {', '.join(ROLES)}"),
        "models": (names, bool(names) and len(set(names)) == len(names), "needs at least one, each of its own name"),
        "weights": (files, len(set(files)) == len(files), "each model needs a file of its own"),
        "shape": (
            record.shape,
            is_arrays(record) if record.shape is None else min(record.shape) >= 1 and max(record.shape) <= MOST_VOXELS,
            f"must be positive, and at most {MOST_VOXELS}",
        ),
        "n_classes": (
            record.n_classes,
            2 <= record.n_classes <= MOST_CLASSES,
            f"must be at least 2, at most {MOST_CLASSES}",
        ),
    }
    for field, (value, holds, rule) in rules.items():
        if not holds:
            raise TargetError(
                f"{path}: {field} is {repr(value)[:_MOST_SHOWN]}; {rule}; mend it, or train the target again"
            )


def plain_file(folder: Path, name: str, named_in: str = TARGET_FILE) -> Path:
    """Return the path of a file that lies in ``folder`` itself, under a plain name and through no link."""
    path = folder / name
    if not name or Path(name).name != name or name in (".", ".."):
        raise TargetError(
            f"{folder / named_in}: names the file {name!r}; give the bare name of a file in the same folder"
        )
    if path.is_symlink() or not path.is_file():
        raise TargetError(
            f"{path}: named in {named_in} but no regular file; copy the whole target folder, or train it again"
        )
    return path


def deliver_target(folder: Path, record: TargetRecord, out: Path) -> None:
    """Put a target at ``out`` with its weights and this record, and nothing else that lies in its folder.

    Raises:
        TargetError: a weights file is missing.
        StorageError: ``out`` cannot be written.
    """
    with publish_folder(out) as partial:
        for model in record.models:
            link_or_copy(plain_file(folder, model.weights), partial / model.weights)
        write_json(partial / TARGET_FILE, to_mapping(record))
