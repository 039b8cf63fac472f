"""The target folder: weights, ``target.json``, ``history.json`` and ``members.json``, whole or absent."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from flprivacy.core.cohort import TRAIN, Cohort
from flprivacy.core.digests import digest_bytes, digest_file
from flprivacy.core.parsing import to_mapping
from flprivacy.core.progress import track
from flprivacy.core.publish import publish_folder, write_json
from flprivacy.core.target import TARGET_FILE, ModelRecord, TargetRecord, Utility
from flprivacy.models.registry import TargetModel
from flprivacy.models.weights import MatchReport, load_weights, save_weights, weights_digest
from flprivacy.targets.folder import target_digest
from flprivacy.training.canaries import CANARIES_FILE, Canaries, score_table
from flprivacy.training.mapping import training_mapping
from flprivacy.training.pool import Indices
from flprivacy.training.topology import Run, TrainedModel, Weights
from flprivacy.training.utility import HeldOut, class_probabilities, held_out_scans, mean_utility, measure_utility

HISTORY_FILE = "history.json"
MEMBERS_FILE = "members.json"


def publish_target(
    run: Run, trained: Sequence[TrainedModel], target: TargetModel, out: Path, canaries: Canaries | None = None
) -> TargetRecord:
    """Score the trained models, write the target folder at ``out`` and return its record.

    Args:
        run: the training run that they come from.
        trained: its models.
        target: the network to put their weights into.
        out: the folder; one already there is replaced.
        canaries: that were among the training data, to be scored; None for none.

    Raises:
        TrainingError: a model's outputs are not finite.
        StorageError: the folder cannot be written.
    """
    held_out = held_out_scans(run.cohort, protocol=run.pool.protocol)
    with publish_folder(out) as folder:
        models: list[ModelRecord] = []
        digests: dict[str, str] = {}
        for model in track(trained, f"scoring {run.name}"):
            target.model.set_weights(model.weights)
            models.append(_publish_model(folder, model, target, held_out))
            digests[model.name] = weights_digest(target)
            match = load_weights(target, folder / models[-1].weights)  # what was written can be read
        if canaries is not None:
            _write_canaries(folder, canaries, trained[0], target, before=run.initial_weights(0))
        write_json(folder / HISTORY_FILE, {m.name: m.history for m in trained})
        write_json(folder / MEMBERS_FILE, {m.name: hashed_members(run.cohort, m.members) for m in trained})
        record = _record(run, target, models, digests, match)
        record = replace(record, canaries=CANARIES_FILE if canaries else "", **_privacy(run, trained))
        write_json(folder / TARGET_FILE, to_mapping(record))
    return record


def _write_canaries(
    folder: Path, canaries: Canaries, trained: TrainedModel, target: TargetModel, *, before: Weights
) -> None:
    """Write the canaries' scores, and leave the trained weights in ``target``."""
    table = score_table(canaries, model=target.model, before=before, after=trained.weights, memory=trained.memory)
    table.to_parquet(folder / CANARIES_FILE, index=False)
    target.model.set_weights(trained.weights)


def _privacy(run: Run, trained: Sequence[TrainedModel]) -> dict[str, Any]:
    """Return what the record says of privacy, from the steps that were done; nothing where training was not private."""
    if run.private is None:
        return {}
    steps = {client: count for model in trained for client, count in model.steps.items()}
    events, stated = run.private.state(steps)
    return {
        "epsilon": stated.epsilon,
        "delta": stated.delta,
        "dp_events": tuple(event.to_mapping() for event in events),
        "privacy": stated,
    }


def hashed_members(cohort: Cohort, members: Indices) -> list[str]:
    """Return the sorted SHA-256 of cohort digest + scan id of each member.

    Args:
        cohort: the cohort.
        members: (n,) indices into its training pool.

    Whoever holds the cohort can tell members from others, and nobody else can; it is a pseudonym, not a secret.
    """
    rows = cohort.rows(TRAIN)
    scan_ids = cohort.manifest["scan_id"].to_numpy()[rows[members[members < len(rows)]]]  # canaries are no scans
    return sorted(digest_bytes(f"{cohort.meta.digest}{scan_id}".encode()) for scan_id in scan_ids)


def _publish_model(folder: Path, model: TrainedModel, target: TargetModel, held_out: HeldOut) -> ModelRecord:
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
    training = training_mapping(run.config)
    cohort_digest = "" if untrained else run.cohort.meta.digest
    utilities = [m.utility for m in models if m.utility is not None]
    return TargetRecord(
        name=run.name,
        role="baseline" if untrained else "target",
        topology=run.config.topology,
        architecture=target.architecture,
        shape=target.shape,
        n_classes=target.n_classes,
        protocol=run.pool.protocol,
        digest=target_digest(
            weights=digests, training=training, cohort_digest=cohort_digest, protocol=run.pool.protocol
        ),
        models=tuple(models),
        utility=mean_utility(utilities, [m.n_train for m in models]) if utilities else None,
        training=training,
        cohort_digest=cohort_digest,
        partition=run.config.partition if run.config.topology == "federated" else None,
        members=MEMBERS_FILE,
        tensors_matched=match.matched,
        tensors_total=match.total,
    )
