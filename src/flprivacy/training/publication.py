"""The target folder, whole or absent: weights and ``target.json``, and the private part that auditors keep."""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from flprivacy.core.cohort import TEST, TRAIN, Cohort
from flprivacy.core.digests import digest_file
from flprivacy.core.parsing import to_mapping
from flprivacy.core.progress import track
from flprivacy.core.publish import publish_folder, write_json
from flprivacy.core.target import TARGET_FILE, Lineage, ModelRecord, TargetRecord, Utility
from flprivacy.models.registry import TargetModel
from flprivacy.models.weights import MatchReport, load_weights, save_weights, weights_digest
from flprivacy.targets.digests import target_digest
from flprivacy.targets.lineage import (
    CANARIES_FILE,
    HISTORY_FILE,
    LINEAGE_FILE,
    MEMBERS_FILE,
    PRIVATE_FOLDER,
    pseudonym,
    released_training,
)
from flprivacy.training.canaries import Canaries, score_table
from flprivacy.training.config import training_mapping
from flprivacy.training.pool import Indices, scan_pool
from flprivacy.training.topology import Run, TrainedModel
from flprivacy.training.utility import class_probabilities, mean_utility, measure_utility

_OWNER_ONLY = 0o700


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
        utilities: dict[str, Utility] = {}
        for model in track(trained, f"scoring {run.name}"):
            target.model.set_weights(model.weights)
            models.append(_publish_model(folder, model, target))
            if len(held_out.labels):
                found = class_probabilities(target.model, held_out)
                utilities[model.name] = measure_utility(held_out.labels, found)
            digests[model.name] = weights_digest(target)
            match = load_weights(target, folder / models[-1].weights)  # what was written can be read
        steps = {client: count for model in trained for client, count in model.steps.items()}
        stated = run.private.recorded(steps) if run.private is not None else {}
        record = replace(_record(run, target, models, digests, match), **stated)
        write_json(folder / TARGET_FILE, to_mapping(record))
        _write_private_part(folder / PRIVATE_FOLDER, run, trained, target, canaries, record.digest, utilities)
    return record


def _write_private_part(
    folder: Path,
    run: Run,
    trained: Sequence[TrainedModel],
    target: TargetModel,
    canaries: Canaries | None,
    digest: str,
    utilities: dict[str, Utility],
) -> None:
    """Write who the members were, counts, utility, losses, canaries' scores, and the configuration with its seeds."""
    folder.mkdir(mode=_OWNER_ONLY)
    if canaries is not None:
        (one,) = trained
        table = score_table(
            canaries, model=target.model, before=run.initial_weights(0), after=one.weights, memory=one.memory
        )
        table.to_parquet(folder / CANARIES_FILE, index=False)
    write_json(folder / HISTORY_FILE, {m.name: m.history for m in trained})
    key = secrets.token_hex(32)
    scans = {m.name: _scan_ids(run.cohort, m.members) for m in trained}
    pseudonyms = {name: sorted(pseudonym(key, run.cohort.meta.digest, s) for s in ids) for name, ids in scans.items()}
    write_json(folder / MEMBERS_FILE, pseudonyms)
    n_train = {m.name: len(m.members) for m in trained}
    sizes = [n_train[name] for name in utilities]
    lineage = Lineage(
        target_digest=digest,
        cohort_digest="" if run.config.topology == "untrained" else run.cohort.meta.digest,
        training=training_mapping(run.config),
        members=MEMBERS_FILE,
        members_key=key,
        n_train=n_train,
        utilities=utilities,
        utility=mean_utility(list(utilities.values()), sizes) if utilities else None,
        history=HISTORY_FILE,
        canaries=CANARIES_FILE if canaries else "",
        synthetic_digest=run.synthetic.digest if run.synthetic is not None else "",
    )
    write_json(folder / LINEAGE_FILE, to_mapping(lineage))
    for file in folder.iterdir():
        file.chmod(_OWNER_ONLY & 0o666)


def _scan_ids(cohort: Cohort, members: Indices) -> list[str]:
    """Return the scans that (n,) indices into the cohort's training pool name; canaries are none."""
    rows = cohort.rows(TRAIN)
    return [str(scan) for scan in cohort.manifest["scan_id"].to_numpy()[rows[members[members < len(rows)]]]]


def _publish_model(folder: Path, model: TrainedModel, target: TargetModel) -> ModelRecord:
    """Write the weights that ``target`` holds."""
    weights = folder / f"{model.name}.weights.h5"
    save_weights(target, weights)
    return ModelRecord(name=model.name, weights=weights.name, sha256=digest_file(weights))


def _record(
    run: Run, target: TargetModel, models: Sequence[ModelRecord], digests: dict[str, str], match: MatchReport
) -> TargetRecord:
    untrained = run.config.topology == "untrained"
    training, synthetic = released_training(training_mapping(run.config)), run.config.synthetic
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
        training=training,
        partition=run.config.partition if run.config.topology == "federated" else None,
        synthetic_share=0.0 if synthetic is None else synthetic.share,
        tensors_matched=match.matched,
        tensors_total=match.total,
    )
