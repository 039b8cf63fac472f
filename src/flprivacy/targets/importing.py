"""Target folders made of foreign checkpoints."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from flprivacy.core.digests import digest_file
from flprivacy.core.errors import TargetError
from flprivacy.core.parsing import to_mapping
from flprivacy.core.progress import track
from flprivacy.core.publish import publish_folder, write_json
from flprivacy.core.target import KERAS2, TARGET_FILE, ModelRecord, Origin, TargetRecord
from flprivacy.core.target_source import (
    CUSTOM,
    GRAPH_SUFFIX,
    INPUT_RANGE,
    NETWORK_FACTS,
    UNIT,
    UNKNOWN,
    TargetSource,
)
from flprivacy.core.vocabulary import PROTOCOLS
from flprivacy.models.architecture import Shape
from flprivacy.models.foreign.answers import NONE
from flprivacy.models.foreign.checkpoint import open_checkpoint
from flprivacy.models.foreign.contract import guessed_axes, split_unknown
from flprivacy.models.foreign.custom import SUFFIX, fresh_custom, load_custom, save_custom
from flprivacy.models.foreign.loading import Loaded, load_checkpoint
from flprivacy.models.initialisation import weights_seed
from flprivacy.models.registry import build
from flprivacy.models.weights import SUFFIX as WEIGHTS_SUFFIX
from flprivacy.models.weights import header_of, load_weights, save_weights, weights_digest
from flprivacy.targets.array_files import NPZ, PARQUET, load_answers, read_arrays, write_arrays
from flprivacy.targets.digests import custom_digest, graph_digest, known_digest, network_facts, target_digest
from flprivacy.targets.folder import read_target

MODEL, OURS = "model", "flprivacy"
_MOST_LEFT_OVER = 1000
_STATED = (
    "topology",
    "partition",
    "epsilon",
    "delta",
    "synthetic_share",
    "n_train",
    "training",
)  # by its owner, not known here


def import_checkpoint(source: TargetSource, file: Path, *, name: str, out: Path) -> TargetRecord:
    """Make a target folder at ``out`` from a weights file; a folder already there is replaced.

    Of the source's location only the file's name is used.

    Raises:
        TargetError: the file cannot be used, or does not fit.
        ConfigError: an unknown architecture.
    """
    with publish_folder(out) as folder:
        record = _importer(source, file)(source, file, name, folder)
        write_json(folder / TARGET_FILE, to_mapping(record))
    return record


def _importer(source: TargetSource, file: Path) -> Callable[[TargetSource, Path, str, Path], TargetRecord]:
    kind = file.name.lower()
    if kind.endswith((NPZ, PARQUET)):
        return _import_arrays
    if source.input_checked:
        raise TargetError(f"{source.location}: input_checked is a statement about arrays; give own_answers instead")
    if kind.endswith(GRAPH_SUFFIX):
        return _import_graph
    return _import_custom if source.is_custom else _import_known


def _import_graph(source: TargetSource, file: Path, name: str, folder: Path) -> TargetRecord:
    from flprivacy.models.graphs.files import read_graph, write_graph  # an extra of its own
    from flprivacy.models.graphs.looking import look_at

    stated = {one: getattr(source, one) for one in ("feature_layer", *NETWORK_FACTS)}
    found = look_at(file, stated=stated, shape=source.shape)
    weights = folder / f"{MODEL}{GRAPH_SUFFIX}"
    graph = read_graph(file)
    write_graph(graph, weights)
    facts = found["facts"] | {one: "" for one in NETWORK_FACTS if found["facts"][one] in (NONE, UNIT)}
    origin = Origin(
        file=_file_name(source),
        format="ONNX",
        sha256=digest_file(file),
        head=bool(facts["answers"]),
        assumed=tuple(found["assumed"]),
        stated=tuple(found["stated"]),
        contradicted=found["contradicted"],
        **facts,
    )
    tensors = len(graph.graph.initializer)
    depth, height, width = found["shape"]
    built = _Built(CUSTOM, (depth, height, width), found["n_classes"])
    return _record(source, name, built, weights, graph_digest(weights, origin), (tensors, tensors), origin)


def _import_arrays(source: TargetSource, file: Path, name: str, folder: Path) -> TargetRecord:
    if source.feature_layer or source.axes or source.input_range or source.output or source.shape:
        raise TargetError(f"{source.location}: holds answers, not a network; of its facts give answers alone")
    arrays, kind = read_arrays(file, answers=source.answers)
    weights = folder / f"{MODEL}{NPZ}"
    write_arrays(arrays, weights)
    origin = Origin(
        file=_file_name(source),
        format="arrays",
        sha256=digest_file(file),
        head=arrays.outputs is not None,
        features=arrays.features is not None,
        answers="" if kind == NONE else kind,
        input_checked=source.input_checked,
        initialisations=arrays.initialisations,
    )
    built = _Built(CUSTOM if arrays.initialisations else UNKNOWN, None, arrays.n_classes)
    return _record(source, name, built, weights, digest_file(weights), (0, 0), origin)


def _import_custom(source: TargetSource, file: Path, name: str, folder: Path) -> TargetRecord:
    stated = {name: getattr(source, name) for name in NETWORK_FACTS}
    custom = load_custom(file, source.feature_layer, shape=source.shape, **stated)
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
        format=KERAS2 if custom.keras2 else "Keras archive",
        sha256=digest_file(file),
        head=bool(custom.facts["answers"]),
        feature_layer=source.feature_layer,
        assumed=custom.contract.assumed,
        stated=custom.contract.stated,
        contradicted=custom.contract.contradicted,
        **facts,
    )
    digest = custom_digest(weights, origin)
    built = _Built(custom.model.architecture, custom.model.shape, custom.model.n_classes)
    return _record(source, name, built, weights, digest, (tensors, tensors), origin)


def _import_known(source: TargetSource, file: Path, name: str, folder: Path) -> TargetRecord:
    loaded, kind = _loaded(source, file)
    weights = folder / f"{MODEL}{WEIGHTS_SUFFIX}"
    save_weights(loaded.model, weights)
    report = loaded.report
    range_known = bool(source.input_range) or source.protocol != PROTOCOLS[0]
    told = {"axes": guessed_axes(loaded.model.shape)[1], INPUT_RANGE: range_known}
    origin = Origin(
        file=_file_name(source),
        format=kind,
        sha256=digest_file(file),
        missing=report.missing,
        left_over=report.left_over[:_MOST_LEFT_OVER],
        head=loaded.head,
        input_range="" if source.input_range == UNIT else source.input_range,
        stated=(INPUT_RANGE,) if source.input_range and kind != OURS else (),
        assumed=() if kind == OURS else split_unknown(told, {})[0],
    )
    digest = known_digest(weights_digest(loaded.model), origin)
    built = _Built(loaded.model.architecture, loaded.model.shape, loaded.model.n_classes)
    return _record(source, name, built, weights, digest, (report.matched, report.total), origin)


def _loaded(source: TargetSource, file: Path) -> tuple[Loaded, str]:
    """Return the network with the file's weights, and the file's format in words."""
    header = None if file.name.lower().endswith(SUFFIX) else header_of(file)
    if header is not None:
        model = build(header.architecture, shape=header.shape, n_classes=header.n_classes, seed=0)
        report = load_weights(model, file)
        trunk = len(model.trunk.weights)
        return Loaded(model=model, report=replace(report, matched=trunk, total=trunk), head=True), OURS
    with open_checkpoint(file) as checkpoint:
        return load_checkpoint(checkpoint, source), checkpoint.format


class _Built(NamedTuple):
    """What a record says of a network."""

    architecture: str
    shape: Shape | None
    n_classes: int


def _record(
    source: TargetSource,
    name: str,
    model: _Built,
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

    Of arrays it is the untrained twin among them, with as many initialisations as that has.

    Raises:
        TargetError: the target is damaged or not custom.
    """
    given = read_target(network)
    origin = given.origin
    if given.architecture != CUSTOM or origin is None:
        raise TargetError(f"{network}: is a {given.architecture}, not a network of your own; leave weights out")
    models, digests = [], {}
    path = network / given.models[0].weights
    initialisations = origin.initialisations or initialisations
    with publish_folder(out) as folder:
        for number in track(range(initialisations), "drawing fresh weights"):
            weights = folder / f"init-{number}{path.suffix}"
            drawn = weights_seed(seed, number, baseline=True)
            digests[f"init-{number}"] = _FRESH[path.suffix](path, origin, number, drawn, weights)
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


def _fresh_keras(path: Path, origin: Origin, number: int, seed: int, weights: Path) -> str:
    del number
    save_custom(fresh_custom(path, origin.feature_layer, seed=seed, **network_facts(origin)), weights)
    return custom_digest(weights, origin)


def _fresh_graph(path: Path, origin: Origin, number: int, seed: int, weights: Path) -> str:
    from flprivacy.models.graphs.files import write_graph
    from flprivacy.models.graphs.fresh import fresh_graph

    del number
    write_graph(fresh_graph(path, seed=seed), weights)
    return graph_digest(weights, origin)


def _twin(path: Path, origin: Origin, number: int, seed: int, weights: Path) -> str:
    del origin, seed
    write_arrays(load_answers(path).twin(number), weights)
    return digest_file(weights)


# suffix -> writes one initialisation of a network's baseline and returns its digest
_FRESH: dict[str, Callable[[Path, Origin, int, int, Path], str]] = {
    SUFFIX: _fresh_keras,
    GRAPH_SUFFIX: _fresh_graph,
    NPZ: _twin,
}
