"""The target folder, whole or absent: weights and ``target.json``, and the private part that auditors keep."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from flprivacy.core.cohort import TEST, TRAIN, Cohort
from flprivacy.core.digests import digest_bytes, digest_file
from flprivacy.core.parsing import to_mapping
from flprivacy.core.progress import track
from flprivacy.core.publish import publish_folder, write_json
from flprivacy.core.target import TARGET_FILE, Lineage, ModelRecord, TargetRecord, Utility
from flprivacy.models.registry import TargetModel
from flprivacy.models.weights import MatchReport, load_weights, save_weights, weights_digest
from flprivacy.targets.folder import target_digest
from flprivacy.targets.lineage import (
    CANARIES_FILE,
    HISTORY_FILE,
    LINEAGE_FILE,
    MEMBERS_FILE,
    PRIVATE_FOLDER,
    released_training,
)
from flprivacy.training.canaries import Canaries, score_table
from flprivacy.training.config import training_mapping
from flprivacy.training.pool import Indices, Pool, scan_pool
from flprivacy.training.topology import Run, TrainedModel
from flprivacy.training.utility import class_probabilities, mean_utility, measure_utility


def publish_target(
    run: Run, trained: Sequence[TrainedModel], target: TargetModel, out: Path, canaries: Canaries | None = None
) -> TargetRecord:
    """Score the trained models, write the target folder at ``out`` and return its record.

    Args:
        run: the training run that they come from.
        trained: its models.
        target: the network to put their weights into.
        out: the folder; one already there is replaced.
        canaries: that were among the training data, to be scored.

    Raises:
        TrainingError: a model's outputs are not finite.
        StorageError: the folder cannot be written.
    """
    held_out = scan_pool(run.cohort, protocol=run.pool.protocol, split=TEST)
    with publish_folder(out) as folder:
        models: list[ModelRecord] = []
        digests: dict[str, str] = {}
        for model in track(trained, f"scoring {run.name}"):
            target.model.set_weights(model.weights)
            models.append(_publish_model(folder, model, target, held_out))
            digests[model.name] = weights_digest(target)
            match = load_weights(target, folder / models[-1].weights)  # what was written can be read
        record = replace(_record(run, target, models, digests, match), **_privacy(run, trained))
        write_json(folder / TARGET_FILE, to_mapping(record))
        _write_private_part(folder / PRIVATE_FOLDER, run, trained, target, canaries, record.digest)
    return record


def _write_private_part(
    folder: Path,
    run: Run,
    trained: Sequence[TrainedModel],
    target: TargetModel,
    canaries: Canaries | None,
    digest: str,
) -> None:
    """Write who the members were, losses, canaries' scores, and the configuration with its seeds."""
    folder.mkdir()
    if canaries is not None:
        (one,) = trained
        table = score_table(
            canaries, model=target.model, before=run.initial_weights(0), after=one.weights, memory=one.memory
        )
        table.to_parquet(folder / CANARIES_FILE, index=False)
    write_json(folder / HISTORY_FILE, {m.name: m.history for m in trained})
    write_json(folder / MEMBERS_FILE, {m.name: hashed_members(run.cohort, m.members) for m in trained})
    lineage = Lineage(
        target_digest=digest,
        cohort_digest="" if run.config.topology == "untrained" else run.cohort.meta.digest,
        training=training_mapping(run.config),
        members=MEMBERS_FILE,
        history=HISTORY_FILE,
        canaries=CANARIES_FILE if canaries else "",
    )
    write_json(folder / LINEAGE_FILE, to_mapping(lineage))


def _privacy(run: Run, trained: Sequence[TrainedModel]) -> dict[str, Any]:
    """Return what the record says of privacy, from the steps that were done; nothing where training was not private."""
    if run.private is None:
        return {}
    steps = {client: count for model in trained for client, count in model.steps.items()}
    events, stated = run.private.state(steps)
    return {
        "epsilon": stated.epsilon,
        "delta": stated.delta,
        "dp_events": tuple(asdict(event) for event in events),
        "privacy": stated,
    }


def hashed_members(cohort: Cohort, members: Indices) -> list[str]:
    """Return the sorted SHA-256 of cohort digest + scan id of each member.

    Args:
        cohort: the cohort.
        members: (n,) indices into its training pool.

    The hashes are no secret: whoever knows or guesses the cohort's digest and a scan's id can tell whether it is in.
    What protects them is that they are never published.
    """
    rows = cohort.rows(TRAIN)
    scan_ids = cohort.manifest["scan_id"].to_numpy()[rows[members[members < len(rows)]]]  # canaries are no scans
    return sorted(digest_bytes(f"{cohort.meta.digest}{scan_id}".encode()) for scan_id in scan_ids)


def _publish_model(folder: Path, model: TrainedModel, target: TargetModel, held_out: Pool) -> ModelRecord:
    """Write the weights that ``target`` holds and score them."""
    weights = folder / f"{model.name}.weights.h5"
    save_weights(target, weights)
    utility: Utility | None = None
    if len(held_out.labels):
        utility = measure_utility(held_out.labels, class_probabilities(target.model, held_out))
    return ModelRecord(
        name=model.name,
        weights=weights.name,
        sha256=digest_file(weights),
        n_train=len(model.members),
        utility=utility,
    )


def _record(
    run: Run, target: TargetModel, models: Sequence[ModelRecord], digests: dict[str, str], match: MatchReport
) -> TargetRecord:
    untrained = run.config.topology == "untrained"
    training = released_training(training_mapping(run.config))
    utilities = [m.utility for m in models if m.utility is not None]
    return TargetRecord(
        name=run.name,
        role="baseline" if untrained else "target",
        topology=run.config.topology,
        architecture=target.architecture,
        shape=target.shape,
        n_classes=target.n_classes,
        protocol=run.pool.protocol,
        digest=target_digest(weights=digests, training=training, cohort_digest="", protocol=run.pool.protocol),
        models=tuple(models),
        utility=mean_utility(utilities, [m.n_train for m in models]) if utilities else None,
        training=training,
        partition=run.config.partition if run.config.topology == "federated" else None,
        tensors_matched=match.matched,
        tensors_total=match.total,
    )
