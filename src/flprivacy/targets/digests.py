"""What tells targets apart: digests of their files, and of what attacks take from these."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flprivacy.core.digests import digest_file, digest_json
from flprivacy.core.errors import TargetError
from flprivacy.core.target import TARGET_FILE, Origin, TargetRecord
from flprivacy.core.target_source import AXES, CUSTOM, GRAPH_SUFFIX, NETWORK_FACTS, UNIT
from flprivacy.models.foreign.allowed import plain
from flprivacy.models.foreign.checkpoint import open_checkpoint
from flprivacy.models.weights import read_tensors, tensors_digest, vet_tensors
from flprivacy.targets.array_files import NPZ, load_answers


def is_graph(record: TargetRecord) -> bool:
    """Whether a target's models are ONNX files."""
    return record.models[0].weights.endswith(GRAPH_SUFFIX)


def is_arrays(record: TargetRecord) -> bool:
    """Whether a target is known by its answers alone."""
    return record.models[0].weights.endswith(NPZ)


def compared_as(record: TargetRecord) -> str:
    """Return what a target has in common with its baselines: the architecture; of networks of users' own, the file."""
    own = record.architecture == CUSTOM and record.origin is not None
    return f"{CUSTOM}:{record.origin.sha256}" if own and record.origin is not None else record.architecture


def graph_facts(origin: Origin) -> dict[str, str]:
    """Return what to load an ONNX file with."""
    return {"feature_layer": origin.feature_layer, **network_facts(origin)}


def network_facts(origin: Origin) -> dict[str, str]:
    """Return the facts of a network of the user's own, the usual ones too, so that none is found out again."""
    usual = {"answers": "none", "axes": AXES, "input_range": UNIT}
    return {name: getattr(origin, name) or usual.get(name, "") for name in NETWORK_FACTS}


def custom_origin(path: Path, record: TargetRecord) -> Origin:
    """Return where a network of the user's own came from; ``path`` is one of its files.

    Raises:
        TargetError: the record does not say.
    """
    if record.origin is None or not record.origin.feature_layer:
        raise TargetError(f"{path.parent / TARGET_FILE}: a custom network without feature layer; import it again")
    return record.origin


def weights_digests(folder: Path, record: TargetRecord) -> dict[str, str]:
    """Return model name -> digest of its weights, read with nothing taken on trust."""
    return {model.name: _weights_digest(folder / model.weights, record) for model in record.models}


def _weights_digest(path: Path, record: TargetRecord) -> str:
    if is_arrays(record):
        load_answers(path)
        return digest_file(path)
    if is_graph(record):
        from flprivacy.models.graphs.looking import look_at

        origin = custom_origin(path, record)
        look_at(path, stated=graph_facts(origin), shape=record.shape)
        return graph_digest(path, origin)
    if record.architecture == CUSTOM:
        return custom_digest(path, custom_origin(path, record))
    vet_tensors(path)
    return known_digest(tensors_digest(read_tensors(path)[1]), record.origin)


def known_digest(tensors: str, origin: Origin | None) -> str:
    """Return the digest of a network of ours: of its tensors, and of the values that it takes if not the usual ones."""
    return digest_json([tensors, origin.input_range]) if origin is not None and origin.input_range else tensors


def custom_digest(path: Path, origin: Origin) -> str:
    """Return the digest of a network of the user's own: description, weights, and what attacks take from it."""
    with open_checkpoint(path) as checkpoint:
        tensors = tensors_digest(checkpoint.read(checkpoint.places))
        return digest_json(
            {
                "config": plain(checkpoint.config),
                "tensors": tensors,
                "features": origin.feature_layer,
                "answers": origin.answers,
            }
            | {name: getattr(origin, name) for name in NETWORK_FACTS if getattr(origin, name)}
        )


def graph_digest(path: Path, origin: Origin) -> str:
    """Return the digest of an ONNX file that we wrote, and of what attacks take from it."""
    return digest_json({"graph": digest_file(path)} | graph_facts(origin))


def target_digest(*, weights: Mapping[str, str], training: Mapping[str, Any], cohort_digest: str, protocol: str) -> str:
    """What caches and lineage key on: how a target's models (name -> digest) were trained and what they weigh."""
    return digest_json(
        {"weights": dict(weights), "training": dict(training), "cohort": cohort_digest, "protocol": protocol}
    )
