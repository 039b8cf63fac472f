"""Where a target comes from, and what is known of it: one word on a command line, or a small YAML file."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import yaml

from flprivacy.core.errors import ConfigError, check
from flprivacy.core.parsing import from_mapping
from flprivacy.core.vocabulary import PARTITIONS, PROTOCOLS

CUSTOM = "custom"
UNKNOWN = "unknown"  # architecture of a network that is known by its answers alone, without an untrained twin
GRAPH_SUFFIX, ARRAY_SUFFIXES = ".onnx", (".npz", ".parquet")
WEIGHTS_SUFFIXES = (".keras", ".h5", ".hdf5", GRAPH_SUFFIX, *ARRAY_SUFFIXES)  # .weights.h5 among them
YAML_SUFFIXES = (".yaml", ".yml")
MLFLOW_PREFIXES = ("models:/", "runs:/")
_KNOWN_TOPOLOGIES = ("pretrained", "siloed", "central", "federated")
AXES = "dhw"  # depth, height, width: the order of the axes of our scans
UNIT, BYTES, HU = "0..1", "0..255", "hu"  # ranges of the values that a network takes
HU_WINDOW = (-1000.0, 400.0)  # what 0 and 1 stand for in cohorts that say nothing else
ANSWERS = ("probabilities", "logits", "labels", "probability", "logit", "none")
INPUT_RANGE = "input_range"
NETWORK_FACTS = ("output", "answers", "axes", INPUT_RANGE)  # of a network of the user's own, beside its feature layer
_RANGE = re.compile(r"(-?\d+(?:\.\d+)?)\.\.(-?\d+(?:\.\d+)?)")
_SHAPE = re.compile(r"(\d+)x(\d+)x(\d+)")


@dataclass(frozen=True, kw_only=True)
class TargetSource:
    """A target's location, and facts about it that its file does not hold.

    A target folder knows everything itself. Of a foreign file ``architecture``, ``shape`` and ``classes`` are taken
    from the file where it tells them.
    """

    # path or URI of a target folder, of a ``.keras``, ``.weights.h5``, ``.h5`` or ``.onnx`` file, of an ``.npz`` or
    # ``.parquet`` file of answers, or an MLflow URI (``models:/name@alias``, ``models:/name/3``, ``runs:/id/path``)
    location: str
    # name in the model registry, or ``custom`` for a network of your own; empty: what the file tells
    architecture: str = ""
    # (depth, height, width) of the scans that it takes, in voxels; None: what the file tells
    shape: tuple[int, int, int] | None = None
    classes: int | None = None  # disease classes; None: what the file tells
    protocol: str = "standard"  # preprocessing that it was trained with
    # of a network of your own: the layer whose output is its features; ``backbone/pool`` in a network within. Of an
    # ONNX file the name of a tensor; empty: what its last dense layer takes
    feature_layer: str = ""
    output: str = ""  # of a network of your own with several outputs: the one that it answers with
    # what that output is: ``probabilities``, ``logits`` or ``labels`` (each class by itself) of several classes,
    # ``probability`` or ``logit`` of one, or ``none`` of these; empty: what its activation tells
    answers: str = ""
    # order in which a network of your own takes depth, height and width, such as ``hwd``; of an ONNX file with ``c``
    # where it takes channels, such as ``cdhw``; empty: what its sizes tell
    axes: str = ""
    # values that a network in a file was trained on, what air and bone are: ``0..1``, ``0..255``, ``LOW..HIGH`` or
    # ``hu``; empty: what its first layers tell
    input_range: str = ""
    # of arrays: whether its owner compared some of them with what the network answers to the same scans in its own use
    input_checked: bool = False
    # path or URI of an ``.npz`` or ``.parquet`` file of what a network answered, where its owner runs it, to some of
    # the audit's scans: the audit compares; empty where there is none
    own_answers: str = ""
    # of a known architecture: the layer of the file's network that holds the trunk; empty: found by the names of its
    # weights
    trunk_layer: str = ""
    role: str = "target"  # ``target``, or ``baseline`` for weights that no patient of the cohort went into
    # how it was trained: ``siloed``, ``central``, ``federated`` or ``pretrained``; None where unknown
    topology: str | None = None
    partition: str | None = None  # ``natural`` or ``iid`` where federated; None where unknown
    epsilon: float | None = None  # privacy budget that its owner states; None where not private or not known
    delta: float | None = None
    synthetic_share: float = 0.0  # fraction of synthetic scans in its training data
    # the recipe that it was trained by, fields of a TargetConfig, for reference models to be trained as it was; None
    # where unknown. A target folder knows its own
    training: dict[str, Any] | None = None
    n_train: int = 0  # scans that it was trained on; 0 where unknown
    # path or URI of the private part of a target (:class:`~flprivacy.core.target.Lineage`), which auditors keep apart
    # from it; empty where there is none
    members: str = ""
    allow_partial: bool = False  # take a file that lacks tensors of the trunk, which then keep fresh weights
    # take the tensors of a file whose network holds layers of code (Lambda); the code is neither read nor run, and the
    # network is the architecture's
    weights_only: bool = False

    def __post_init__(self) -> None:
        check(bool(self.location), "location", self.location, "give a path or URI")
        check(self.shape is None or min(self.shape) >= 1, "shape", self.shape, "must be positive, such as 24x256x256")
        check(self.classes is None or self.classes >= 2, "classes", self.classes, "must be at least 2")
        check(self.protocol in PROTOCOLS, "protocol", self.protocol, f"must be one of {', '.join(PROTOCOLS)}")
        check(self.role in ("target", "baseline"), "role", self.role, "must be target or baseline")
        fits = self.topology in (None, *_KNOWN_TOPOLOGIES)
        check(fits, "topology", self.topology, f"must be one of {', '.join(_KNOWN_TOPOLOGIES)}")
        fits = self.partition is None or (self.partition in PARTITIONS and self.topology == "federated")
        check(fits, "partition", self.partition, f"must be {' or '.join(PARTITIONS)}, of a federated target")
        check(self.epsilon is None or self.epsilon > 0.0, "epsilon", self.epsilon, "must be positive")
        check(self.delta is None or 0.0 < self.delta < 1.0, "delta", self.delta, "must be between 0 and 1")
        check(0.0 <= self.synthetic_share <= 1.0, "synthetic_share", self.synthetic_share, "must be in [0, 1]")
        check(self.n_train >= 0, "n_train", self.n_train, "must not be negative")
        check(self.answers in ("", *ANSWERS), "answers", self.answers, f"must be one of {', '.join(ANSWERS)}")
        orders = ("", "".join(sorted(AXES)), "".join(sorted(f"c{AXES}")))
        rule = "give the order of d, h and w, such as hwd; of an ONNX file with c for channels, such as chwd"
        check(
            "".join(sorted(self.axes)) in orders and ("c" not in self.axes or not self._is_keras),
            "axes",
            self.axes,
            rule,
        )
        check(self.input_range == "" or bool(range_of(self.input_range)), "input_range", self.input_range, _RANGE_RULE)
        self._check_comparison()
        own = self.is_custom
        for name in NETWORK_FACTS:
            rule = "is a fact of a network of your own; give its feature_layer, or leave it out"
            fits = own or self.is_mlflow or name == INPUT_RANGE or not getattr(self, name)
            check(fits, name, getattr(self, name), rule)
        check(
            own == (self.architecture == CUSTOM) or (own and not self.architecture),
            "architecture",
            self.architecture,
            "feature_layer belongs to a network of your own (architecture custom), which needs it",
        )

    def _check_comparison(self) -> None:
        rule = "is a statement about arrays; of a network give own_answers, which the audit compares"
        check(not self.input_checked or self.is_arrays or self.is_mlflow, "input_checked", self.input_checked, rule)
        rule = "give an .npz or .parquet file; of arrays, which cannot be compared with scans, state input_checked=true"
        fits = self.own_answers.lower().endswith(ARRAY_SUFFIXES) and not self.is_arrays
        check(not self.own_answers or fits, "own_answers", self.own_answers, rule)

    @property
    def is_foreign(self) -> bool:
        """Whether the location is a weights file, not a folder; an MLflow location may be either."""
        return self.location.lower().endswith(WEIGHTS_SUFFIXES)

    @property
    def is_mlflow(self) -> bool:
        """Whether the location is for MLflow to resolve."""
        return self.location.startswith(MLFLOW_PREFIXES)

    @property
    def is_arrays(self) -> bool:
        """Whether the location is a file of answers."""
        return self.location.lower().endswith(ARRAY_SUFFIXES)

    @property
    def is_custom(self) -> bool:
        """Whether it is a network of the user's own: by its feature layer, or by the format of its file."""
        return bool(self.feature_layer) or self.location.lower().endswith((GRAPH_SUFFIX, *ARRAY_SUFFIXES))

    @property
    def _is_keras(self) -> bool:
        return self.is_foreign and not self.location.lower().endswith((GRAPH_SUFFIX, *ARRAY_SUFFIXES))

    def of_target(self) -> "TargetSource":
        """Return the source without what is kept apart from the target: the private part, and answers to compare."""
        return replace(self, members="", own_answers="")

    def facts(self) -> dict[str, Any]:
        """Return the fields other than ``location`` that were given, JSON-able."""
        defaults = {f.name: f.default for f in fields(self)}
        given = {name: getattr(self, name) for name in defaults if name != "location"}
        given = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
        return {name: value for name, value in given.items() if value != defaults[name]}

    def __str__(self) -> str:
        """Return the word that :func:`parse_source` reads."""
        words = [f"{name}={_word(value)}" for name, value in self.facts().items()]
        return ",".join([self.location, *words])


_RANGE_RULE = "give 0..1, 0..255, hu, or LOW..HIGH, what air and bone are"


def range_of(text: str, window_hu: tuple[float, float] = HU_WINDOW) -> tuple[float, float] | None:
    """Return what 0 and 1 become for a network of that ``input_range``; None where it is no range."""
    if text == HU:
        return window_hu
    found = _RANGE.fullmatch(text)
    low, high = map(float, found.groups()) if found else (0.0, 0.0)
    return (low, high) if low < high else None


_TEXTS = [one.name for one in fields(TargetSource) if "str" in str(one.type) and "dict" not in str(one.type)] + [
    "shape"
]


def weights_suffix(location: str) -> str:
    """Return the ending of a weights file."""
    return next(suffix for suffix in WEIGHTS_SUFFIXES if location.lower().endswith(suffix))


def parse_source(word: str) -> TargetSource:
    """Read ``LOCATION`` or ``LOCATION,field=value,...``, such as ``s3://bucket/a.h5,architecture=i3d,shape=24x64x64``.

    Raises:
        ConfigError: an unknown field or a wrong value.
    """
    location, *facts = re.split(r",(?=[A-Za-z_]+=)", word)
    given: dict[str, Any] = {}
    for fact in facts:
        name, _, text = fact.partition("=")
        if name in given:
            raise ConfigError(f"target {word!r}: {name} is given twice; give it once")
        given[name] = _value(name, text, word)
    return source_of(location, given, f"target {word!r}")


def source_of(location: str, facts: Mapping[str, Any], where: str) -> TargetSource:
    """Return the source of a location with facts given as fields.

    Raises:
        ConfigError: an unknown field or a wrong value.
    """
    shape = facts.get("shape")
    if isinstance(shape, str):
        facts = {**facts, "shape": _shape(shape, where)}
    for name in ("epsilon", "delta", "synthetic_share"):
        if isinstance(facts.get(name), str):
            facts = {**facts, name: _number(facts[name], name, where)}
    return from_mapping(TargetSource, {**facts, "location": location}, where)


def parse_source_file(text: str, where: str) -> TargetSource:
    """Read a target's YAML: ``location: ...`` and the other fields of :class:`TargetSource`.

    Raises:
        ConfigError: it is no such file.
    """
    try:
        mapping = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{where}: not YAML ({' '.join(str(error).split())[:200]}); mend it") from error
    if not isinstance(mapping, Mapping) or not isinstance(mapping.get("location"), str):
        raise ConfigError(f"{where}: not a target; give it a line 'location: PATH_OR_URI'")
    facts = {str(name): value for name, value in mapping.items() if name != "location"}
    return source_of(mapping["location"], facts, where)


def _value(name: str, text: str, where: str) -> Any:
    if name in _TEXTS:
        return text  # a layer may be called 1 or on
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"target {where!r}: {name}={text!r} is not a value") from error


def _number(text: str, name: str, where: str) -> float:
    """Read a number; YAML takes 1e-5, without a point, for text."""
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(f"{where}: {name} is {text!r}; give a number") from error


def _shape(text: str, where: str) -> list[int]:
    found = _SHAPE.fullmatch(text)
    if not found:
        raise ConfigError(f"{where}: shape is {text!r}; write it as DEPTHxHEIGHTxWIDTH, such as 24x256x256")
    return [int(size) for size in found.groups()]


def _word(value: Any) -> str:
    if isinstance(value, list):
        return "x".join(map(str, value))
    if isinstance(value, dict):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
