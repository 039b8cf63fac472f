"""Step ``pull_target``: bring a given target to where the other steps read it."""

from pathlib import Path

from flprivacy.core.errors import ConfigError
from flprivacy.core.target_source import parse_source
from flprivacy.execution.container import StepResult
from flprivacy.execution.passing import SharedStore
from flprivacy.study.plan import Plan
from flprivacy.targets.given import bring_target


def pull_target(*, plan: Path, target_name: str, target: Path, store: SharedStore = "") -> StepResult:
    """Bring a given target to where the other steps read it, and check it; never cached.

    A .keras, .weights.h5 or legacy .h5 file is matched with its architecture by the names of its weights; nothing in
    it is run. An .onnx file is a network of its own, and an .npz or .parquet file what a network answered. What is in
    the store already is not fetched again, unless the target's objects changed.

    Args:
        plan: the run's resolved configuration, with the location of each target and facts about it.
        target_name: name of the target to bring.
        target: folder to write: weights and ``target.json``, under that name.
        store: location of finished artifacts and checkpoints, which keeps what was fetched.

    Returns:
        Digest, topology, architecture, and how many of the trunk's tensors were matched.

    Raises:
        ConfigError: the plan has no such target.
        TargetError: it is no valid target, the file cannot be used, or the private part that it names is another's.
        StorageError: an object cannot be read or stays damaged.
        TrackingError: MLflow cannot be reached or has no such model.
    """
    sources = Plan.read(plan).sources
    if target_name not in sources:
        raise ConfigError(f"target {target_name!r} is not among the given ones: {', '.join(sorted(sources))}")
    record = bring_target(parse_source(sources[target_name]), store, name=target_name, out=target)
    facts = {
        "digest": record.digest,
        "topology": str(record.topology),
        "architecture": record.architecture,
        "tensors_matched": record.tensors_matched,
        "tensors_total": record.tensors_total,
    }
    return StepResult(metadata={"target": facts})
