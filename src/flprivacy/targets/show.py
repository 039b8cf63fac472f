"""What a given target is, for people to look at."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from flprivacy.core.errors import naming
from flprivacy.core.parsing import to_mapping
from flprivacy.core.target_source import ARRAY_SUFFIXES, GRAPH_SUFFIX, TargetSource, weights_suffix
from flprivacy.models.foreign.checkpoint import Checkpoint, open_checkpoint
from flprivacy.models.foreign.naming import guess_architecture, networks_of
from flprivacy.storage.transfer import download
from flprivacy.storage.uris import is_remote, local_path
from flprivacy.targets.given import given_record

_SHOWN = 20


def show_target(source: TargetSource, store: str = "") -> dict[str, Any]:
    """Return a target folder's record, or what a foreign file holds and how it fits, JSON-able.

    An ONNX file and arrays are shown as the target that they become.

    Raises:
        FlprivacyError: it cannot be read.
    """
    own_format = source.location.lower().endswith((GRAPH_SUFFIX, *ARRAY_SUFFIXES))
    if source.is_mlflow or not source.is_foreign or own_format:
        return to_mapping(given_record(source, store))
    if not is_remote(source.location):
        return _shown(source, local_path(source.location))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"checkpoint{weights_suffix(source.location)}"
        download(source.location, path)
        with naming(source.location, path):
            return _shown(source, path)


def _shown(source: TargetSource, path: Path) -> dict[str, Any]:
    from flprivacy.models.weights import header_of

    header = None if path.name.lower().endswith(".keras") else header_of(path)
    if header is not None:
        return {"location": source.location, "format": "flprivacy weights", **to_mapping(header)}
    with open_checkpoint(path) as checkpoint:
        shape = source.shape or checkpoint.shape
        found = {
            "location": source.location,
            "format": checkpoint.format,
            "tensors": len(checkpoint.places),
            "networks": _networks(checkpoint),
            "layer_of_code": checkpoint.code,
            "shape": list(shape) if shape else None,
            "architecture": source.architecture or guess_architecture(checkpoint),
        }
        fits = found["architecture"] and shape and not source.is_custom
        return found | (_match(checkpoint, source) if fits else {})


def _networks(checkpoint: Checkpoint) -> dict[str, str]:
    """Return network -> how many layers and tensors it holds; the outermost is called ``(whole)``."""
    return {
        name or "(whole)": f"{len(layers)} layers with weights, {sum(map(len, layers.values()))} tensors"
        for name, layers in networks_of(checkpoint).items()
    }


def _match(checkpoint: Checkpoint, source: TargetSource) -> dict[str, Any]:
    """Try the weights in their architecture, and say how they fit."""
    from flprivacy.models.foreign.loading import load_checkpoint

    loaded = load_checkpoint(checkpoint, replace(source, allow_partial=True, weights_only=True))
    report = loaded.report
    return {
        "classes": loaded.model.n_classes,
        "head": loaded.head,
        "tensors_matched": report.matched,
        "tensors_total": report.total,
        "missing": _some(report.missing),
        "left_over": _some(report.left_over),
    }


def _some(names: tuple[str, ...]) -> list[str]:
    more = [f"... and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return [*names[:_SHOWN], *more]
