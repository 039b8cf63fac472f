"""Step ``pull_target``: bring a given target to where the other steps read it."""

import tempfile
from dataclasses import replace
from pathlib import Path

from flprivacy.core.errors import ConfigError
from flprivacy.core.target_source import parse_source
from flprivacy.execution.container import StepResult
from flprivacy.targets.folder import deliver_target, read_target
from flprivacy.targets.given import given_private_part, given_target
from flprivacy.targets.listing import resolve_targets


def pull_target(*, targets: dict[str, str], target_name: str, target: Path, store: str = "") -> StepResult:
    """Bring a given target to where the other steps read it, and check it; never cached.

    A .keras, .weights.h5 or legacy .h5 file is matched with its architecture by the names of its weights; nothing in
    it is run. What is in the store already is not fetched again, unless the target's objects changed.

    Args:
        targets: name of each target and its folder, weights file or MLflow URI, with facts about it, separated by
            commas; or a reference to an object in the store that lists them.
        target_name: name of the target to bring.
        target: folder to write: weights and ``target.json``, under that name.
        store: location of finished artifacts and checkpoints, which keeps what was fetched.

    Returns:
        Digest, topology, architecture, and how many of the trunk's tensors were matched.

    Raises:
        ConfigError: ``targets`` has no such name.
        TargetError: it is no valid target, the file cannot be used, or the private part that it names is another's.
        StorageError: an object cannot be read or stays damaged.
        TrackingError: MLflow cannot be reached or has no such model.
    """
    targets = resolve_targets(targets)
    if target_name not in targets:
        raise ConfigError(f"target {target_name!r} is not among the given ones: {', '.join(sorted(targets))}")
    source = parse_source(targets[target_name])
    folder = given_target(source, store)
    record = replace(read_target(folder), name=target_name)
    with tempfile.TemporaryDirectory() as private:
        given_private_part(source, record, Path(private))
    deliver_target(folder, record, target)
    facts = {
        "digest": record.digest,
        "topology": str(record.topology),
        "architecture": record.architecture,
        "tensors_matched": record.tensors_matched,
        "tensors_total": record.tensors_total,
    }
    return StepResult(metadata={"target": facts})
