"""A graph as a target: scans go in as the cohort has them, features and probabilities come out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flprivacy.core.errors import TargetError
from flprivacy.core.target_source import HU_WINDOW, INPUT_RANGE, range_of
from flprivacy.models.foreign.answers import NONE, kind_by, probabilities
from flprivacy.models.foreign.contract import Shape, check_holds, divergence, split_unknown, taken_range
from flprivacy.models.graphs.files import read_graph
from flprivacy.models.graphs.place import Place
from flprivacy.models.graphs.runtime import Session
from flprivacy.models.graphs.tracing import Graph
from flprivacy.models.hdf5 import printable

Floats = npt.NDArray[np.float32]
Arrays = dict[str, Floats]

_SAME = 1e-3  # relative to the largest, of answers in the company of others and alone
_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class GraphNetwork:
    """A network that can be asked.

    Attributes:
        forward: scans (n, depth, height, width, 1) of any grid in [0, 1] to ``features`` (n, feature) and, if it
            classifies, ``outputs`` (n, class), the probabilities.
        misfit: of scans to the statistics that it keeps, in nats; see :func:`flprivacy.attacks.contract.doubt_of`.
        shape: (depth, height, width) of the scans.
        facts: ``feature_layer`` and NETWORK_FACTS, as stated or found; ``axes`` with ``c`` where the network has an
            axis for channels.
        assumed: those of ``axes`` and ``input_range`` that neither owner nor file tells.
        stated: those of the two and of ``shape`` that its owner states and the file does not tell.
        contradicted: the range that its first operators are made for, where its owner states quite another.
        n_classes: of its outputs; 2 where it does not classify.
    """

    forward: Callable[[Floats], Arrays]
    misfit: Callable[[Floats], float | None]
    shape: Shape
    facts: dict[str, str]
    assumed: tuple[str, ...]
    stated: tuple[str, ...]
    contradicted: str
    n_classes: int


def load_graph(
    path: Path,
    *,
    stated: Mapping[str, str],
    shape: Shape | None,
    threads: int,
    window_hu: tuple[float, float] = HU_WINDOW,
    trial: bool = False,
) -> GraphNetwork:
    """Load a network and find out what was not stated of it.

    Args:
        path: the file.
        stated: ``feature_layer`` and NETWORK_FACTS as far as they are known; missing or empty: what the graph tells.
        shape: (depth, height, width) of the scans; None: what the graph tells.
        threads: of an operator.
        window_hu: what 0 and 1 of the scans stand for.
        trial: whether it must answer two scans first, where its facts do not ask for that anyway.

    Raises:
        TargetError: the file is refused, or does not tell what must then be stated; or, in a trial, the network answers
            with what is no number, or otherwise to a scan among others than to the same alone.
    """
    model = read_graph(path)
    graph = Graph(model, path)
    output = graph.output(stated.get("output", ""))
    features = graph.features(stated.get("feature_layer", ""), output)
    place = Place.of(graph, stated.get("axes", ""), shape)
    taken_as = taken_range(graph.normalisations(), stated.get(INPUT_RANGE, ""), path)
    values = taken_as.input_range
    assumed, on_word = split_unknown({"axes": place.told, INPUT_RANGE: taken_as.told}, stated)
    low, high = range_of(values, window_hu) or (0.0, 1.0)
    check_holds(np.dtype(place.dtype).name, (low, high), path)
    kept = graph.kept_statistics()
    tapped = [features, output, *([kept.tensor] if kept else [])]
    for name in dict.fromkeys(tapped):
        if name not in graph.outputs:
            model.graph.output.add().name = name
    session = Session(model, path, threads=threads)

    def ask(scans: Floats, names: list[str]) -> list[Floats]:
        taken = place.arranged(scans * np.float32(high - low) + np.float32(low))
        parts = [session.run(graph.input.name, part, names) for part in place.batches(taken)]
        for name, one in zip(names, parts[0], strict=True):
            if not isinstance(one, np.ndarray) or one.ndim < 1:
                raise TargetError(f"{path}: tensor {printable(name[:80])!r} is not one for each scan; name another")
        return [np.concatenate(one)[: len(scans)].astype(np.float32) for one in zip(*parts, strict=True)]

    def raw(scans: Floats) -> tuple[Floats, Floats]:
        vectors, answers = ask(scans, [features, output])
        return _pooled(vectors, graph.channels_last(features), path), _answers(answers)

    def misfit(scans: Floats) -> float | None:
        if kept is None:
            return None
        moments = [_moments(ask(scans[i : i + _AT_ONCE], tapped[2:])[0]) for i in range(0, len(scans), _AT_ONCE)]
        weights = [len(scans[i : i + _AT_ONCE]) for i in range(0, len(scans), _AT_ONCE)]
        mean, square = np.average(moments, axis=0, weights=weights)
        return divergence(mean, square - mean**2, kept.mean, kept.variance, kept.epsilon)

    kind = stated.get("answers", "")
    if trial or not kind:
        some = _tried(raw, place.shape, path)
        kind = kind or kind_by(graph.activation(output), some)

    def forward(scans: Floats) -> Arrays:
        vectors, answers = raw(scans)
        classified = {} if kind == NONE else {"outputs": probabilities(answers, kind).astype(np.float32)}
        return {"features": vectors} | classified

    first = forward(np.zeros((1, *place.shape, 1), np.float32)).get("outputs")
    return GraphNetwork(
        forward=forward,
        misfit=misfit,
        shape=place.shape,
        facts={"feature_layer": features, "output": output, "answers": kind, "axes": place.axes, INPUT_RANGE: values},
        assumed=assumed,
        stated=on_word if place.fixed else (*on_word, "shape"),
        contradicted=taken_as.contradicted,
        n_classes=2 if first is None else int(first.shape[1]),
    )


def _moments(values: Floats) -> npt.NDArray[np.float64]:
    """Return (2, channel): mean and mean square of values (n, channel, ...)."""
    channels = np.moveaxis(values, 1, -1).reshape(-1, values.shape[1]).astype(np.float64)
    return np.stack([channels.mean(axis=0), (channels**2).mean(axis=0)])


def _pooled(features: Floats, channels_last: bool, path: Path) -> Floats:
    """Return (n, feature): averaged over whatever axes there are beside the channels."""
    if features.ndim < 2:
        raise TargetError(f"{path}: its features are one number for a scan; give another feature_layer")
    axes = tuple(range(1, features.ndim - 1)) if channels_last else tuple(range(2, features.ndim))
    return features.mean(axis=axes) if axes else features


def _answers(values: Floats) -> Floats:
    """Return (n, unit) where the output is that but for axes of one; else as it is."""
    if values.ndim == 1 or (values.ndim > 2 and values[0].size == values.shape[1]):
        return values.reshape(len(values), -1)
    return values


def _tried(raw: Callable[[Floats], tuple[Floats, Floats]], shape: Shape, path: Path) -> Floats:
    """Return answers to two scans of random values, after refusing a network that cannot answer scan by scan."""
    scans = np.random.default_rng(0).random((2, *shape, 1), dtype=np.float32)
    alone = [raw(scan[None]) for scan in scans]
    for together, one, other in zip(raw(scans), *alone, strict=True):
        if len(together) != 2 or not np.isfinite(together).all():
            raise TargetError(f"{path}: does not answer each scan with finite numbers; give another file")
        if np.abs(together - np.concatenate([one, other])).max(initial=0.0) > _SAME * np.abs(together).max(initial=0.0):
            raise TargetError(
                f"{path}: answers otherwise to a scan alone than among others, as networks do while they are trained; "
                "export it as it answers (model.eval())"
            )
    return np.concatenate([answers for _, answers in alone])
