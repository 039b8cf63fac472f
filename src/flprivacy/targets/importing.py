"""Target folders made of foreign checkpoints."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from flprivacy.core.digests import digest_file
from flprivacy.core.errors import TargetError
from flprivacy.core.parsing import to_mapping
from flprivacy.core.progress import track
from flprivacy.core.publish import publish_folder, write_json
from flprivacy.core.target import TARGET_FILE, ModelRecord, Origin, TargetRecord
from flprivacy.core.target_source import CUSTOM, INPUT_RANGE, NETWORK_FACTS, UNIT, TargetSource
from flprivacy.core.vocabulary import PROTOCOLS
from flprivacy.models.architecture import TargetModel
from flprivacy.models.foreign.checkpoint import open_checkpoint
from flprivacy.models.foreign.custom import SUFFIX, fresh_custom, load_custom, save_custom
from flprivacy.models.foreign.loading import Loaded, load_checkpoint
from flprivacy.models.registry import build
from flprivacy.models.weights import SUFFIX as WEIGHTS_SUFFIX
from flprivacy.models.weights import header_of, load_weights, save_weights, weights_digest
from flprivacy.targets.folder import custom_digest, known_digest, network_facts, read_target, target_digest

MODEL, OURS = "model", "flprivacy"
_MOST_LEFT_OVER = 1000
_STATED = ("topology", "partition", "epsilon", "delta", "synthetic_share", "n_train")  # by its owner, not known here


def import_checkpoint(source: TargetSource, file: Path, *, name: str, out: Path) -> TargetRecord:
    """Make a target folder at ``out`` from a weights file; a folder already there is replaced.

    Of the source's location only the file's name is used.

    Raises:
        TargetError: the file cannot be used, or does not fit.
        ConfigError: an unknown architecture.
    """
    with publish_folder(out) as folder:
        make = _import_custom if source.is_custom else _import_known
        record = make(source, file, name, folder)
        write_json(folder / TARGET_FILE, to_mapping(record))
    return record


def _import_custom(source: TargetSource, file: Path, name: str, folder: Path) -> TargetRecord:
    custom = load_custom(file, source.feature_layer, **{name: getattr(source, name) for name in NETWORK_FACTS})
    if source.shape not in (None, custom.model.shape):
        raise TargetError(
            f"{source.location}: takes scans of shape {custom.model.shape}, not {source.shape}; leave shape out"
        )
    weights = folder / f"{MODEL}{SUFFIX}"
    save_custom(custom, weights)
    tensors = len(custom.network.weights)
    facts: dict[str, Any] = dict(custom.facts)
    origin = Origin(
        file=_file_name(source),
        format="Keras archive",
        sha256=digest_file(file),
        head=bool(custom.facts["answers"]),
        feature_layer=source.feature_layer,
        assumed=custom.assumed,
        **facts,
    )
    digest = custom_digest(weights, origin)
    return _record(source, name, custom.model, weights, digest, (tensors, tensors), origin)


def _import_known(source: TargetSource, file: Path, name: str, folder: Path) -> TargetRecord:
    loaded, kind = _loaded(source, file)
    weights = folder / f"{MODEL}{WEIGHTS_SUFFIX}"
    save_weights(loaded.model, weights)
    report = loaded.report
    origin = Origin(
        file=_file_name(source),
        format=kind,
        sha256=digest_file(file),
        missing=report.missing,
        left_over=report.left_over[:_MOST_LEFT_OVER],
        head=loaded.head,
        input_range="" if source.input_range == UNIT else source.input_range,
        assumed=() if source.input_range or source.protocol != PROTOCOLS[0] or kind == OURS else (INPUT_RANGE,),
    )
    digest = known_digest(weights_digest(loaded.model), origin)
    return _record(source, name, loaded.model, weights, digest, (report.matched, report.total), origin)


def _loaded(source: TargetSource, file: Path) -> tuple[Loaded, str]:
    """Return the network with the file's weights, and the file's format in words."""
    header = None if file.name.endswith(SUFFIX) else header_of(file)
    if header is not None:
        model = build(header.architecture, shape=header.shape, n_classes=header.n_classes, seed=0)
        report = load_weights(model, file)
        trunk = len(model.trunk.weights)
        return Loaded(model=model, report=replace(report, matched=trunk, total=trunk), head=True), OURS
    with open_checkpoint(file) as checkpoint:
        return load_checkpoint(checkpoint, source), checkpoint.format


def _record(
    source: TargetSource,
    name: str,
    model: TargetModel,
    weights: Path,
    digest: str,
    tensors: tuple[int, int],
    origin: Origin,
) -> TargetRecord:
    training = {name: value for name, value in source.facts().items() if name in _STATED}
    return TargetRecord(
        name=name,
        role=source.role,
        topology=source.topology,
        architecture=model.architecture,
        shape=model.shape,
        n_classes=model.n_classes,
        protocol=source.protocol,
        digest=target_digest(weights={MODEL: digest}, training=training, cohort_digest="", protocol=source.protocol),
        models=(ModelRecord(name=MODEL, weights=weights.name, sha256=digest_file(weights), n_train=source.n_train),),
        training=training,
        partition=source.partition,
        epsilon=source.epsilon,
        delta=source.delta,
        synthetic_share=source.synthetic_share,
        tensors_matched=tensors[0],
        tensors_total=tensors[1],
        origin=origin,
    )


def _file_name(source: TargetSource) -> str:
    """Return the file's name alone: a path may name people."""
    return source.location.rstrip("/").rsplit("/", 1)[-1][:200]


def fresh_target(network: Path, *, initialisations: int, seed: int, protocol: str, out: Path) -> TargetRecord:
    """Make an untrained baseline of a custom target: its network with fresh weights, several times, at ``out``.

    Raises:
        TargetError: the target is damaged or not custom.
    """
    given = read_target(network)
    origin = given.origin
    if given.architecture != CUSTOM or origin is None:
        raise TargetError(f"{network}: is a {given.architecture}, not a network of your own; leave weights out")
    models, digests = [], {}
    with publish_folder(out) as folder:
        for number in track(range(initialisations), "drawing fresh weights"):
            drawn = int(np.random.default_rng([seed, number]).integers(2**31))
            custom = fresh_custom(
                network / given.models[0].weights, origin.feature_layer, seed=drawn, **network_facts(origin)
            )
            weights = folder / f"init-{number}{SUFFIX}"
            save_custom(custom, weights)
            digests[f"init-{number}"] = custom_digest(weights, origin)
            models.append(
                ModelRecord(name=f"init-{number}", weights=weights.name, sha256=digest_file(weights), n_train=0)
            )
        training = {"topology": "untrained", "initialisations": initialisations}
        record = replace(
            given,
            role="baseline",
            topology="untrained",
            protocol=protocol,
            digest=target_digest(weights=digests, training=training, cohort_digest="", protocol=protocol),
            models=tuple(models),
            utility=None,
            training=training,
            cohort_digest="",
            partition=None,
            epsilon=None,
            delta=None,
            synthetic_share=0.0,
        )
        write_json(folder / TARGET_FILE, to_mapping(record))
    return record
