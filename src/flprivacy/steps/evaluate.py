"""Step ``evaluate``: turn score tables into numbers with intervals and verdicts."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from flprivacy import __version__
from flprivacy.auditing.attributes import audit_attributes
from flprivacy.auditing.membership.targets import Claim, Exposed, audit_targets
from flprivacy.cohorts.metadata import read_meta
from flprivacy.cohorts.placed import open_manifest
from flprivacy.core.artifacts import (
    AUDIT_FILE,
    COMPUTE_FILE,
    EXPOSED_FILE,
    GENERATOR_AUDIT_FILE,
    MEMBERSHIP_FILE,
    MEMBERSHIP_FOLDER,
    REFERENCE_FILE,
    SCORES_FILE,
)
from flprivacy.core.audit import GENERATOR, Audit, TargetFailure, TargetSummary
from flprivacy.core.cohort import TRAIN, Cohort
from flprivacy.core.digests import digest_file, digest_json
from flprivacy.core.errors import AuditError
from flprivacy.core.events import emit
from flprivacy.core.generator_audit import GeneratorAudit
from flprivacy.core.parsing import to_mapping
from flprivacy.core.parts import WITHOUT_MODEL
from flprivacy.core.publish import write_json
from flprivacy.core.scores import ScoreTable, read_scores
from flprivacy.core.target import TARGET_FILE, TargetRecord
from flprivacy.core.target_source import CUSTOM
from flprivacy.core.vocabulary import BASELINE_TOPOLOGIES
from flprivacy.execution.container import StepResult, confusion_metadata
from flprivacy.execution.isolation import read_failure, try_again
from flprivacy.privacy.config import without_noise_seeds
from flprivacy.reporting.markdown import strongest_confusion, verdict_metrics
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.code_fingerprint import library_versions
from flprivacy.storage.places import open_store
from flprivacy.study.config import StudyConfig
from flprivacy.study.exposure import ask_about_sites, attack_with_references
from flprivacy.study.kept_scores import attack_identity, audit_key, keep_scores
from flprivacy.study.plan import Plan, own_baseline
from flprivacy.study.references import is_of_reference
from flprivacy.targets.folder import read_record


def evaluate(
    *,
    plan: Path,
    cohort: Path,
    target_scores: tuple[Path, ...],
    store: str,
    audit: Path,
    generator_audit: Path | None = None,
) -> StepResult:
    """Turn score tables into metrics with intervals, excess over the baselines, and verdicts.

    Membership is attacked with the reference models first, where a target has some, and hospitals are asked about.

    Args:
        cohort: the cohort that all scores come from.
        target_scores: scores of the attacks on the targets and their baselines, and of the attackers without a model;
            and what each reference model answers.
        audit: folder to write: ``audit.json``, the score tables without pseudonyms, and who is most exposed, by
            pseudonym.
        generator_audit: what the checks of the study's generator found; an empty folder where it has none.

    Returns:
        The strength and excess of every attack at the exposed fraction that decides, and the confusion matrix of the
        strongest site attack.

    Raises:
        AuditError: score tables that contradict each other or lack a baseline, such as the attackers without a model.
    """
    run = Plan.read(plan)
    if note := run.study.audit.policy.note():
        emit("note", text=note)
    references = tuple(filter(is_of_reference, target_scores))
    folders, opened = [one for one in target_scores if one not in references], open_manifest(cohort)
    attacked = [one for folder in folders if (one := folder / MEMBERSHIP_FOLDER).is_dir()]
    members, lost = attack_with_references(
        run, opened, attacked, references, step="evaluate", generator=generator_audit
    )
    sites, unasked = ask_about_sites(run, opened, members, references, step="evaluate")
    failures = _failures(folders, [*lost, *unasked], run)
    succeeded = [folder for folder in folders if read_failure(folder) is None]
    tables, curves, records = _gather(succeeded)
    inputs = {
        "plan": to_mapping(run),
        "cohort": read_meta(cohort).digest,
        # By content: another version of the attacks scores the same target on the same cohort differently.
        "scores": sorted(digest_file(path) for folder in (*folders, *attacked) for path in folder.glob("*.parquet")),
        "references": sorted(digest_file(path) for folder in references for path in folder.glob(REFERENCE_FILE)),
        "failures": [to_mapping(f) for f in failures],
        "version": __version__,
    }
    checked = [generator_audit / name for name in (GENERATOR_AUDIT_FILE, MEMBERSHIP_FILE)] if generator_audit else []
    if of_generator := [file for file in checked if file.is_file()]:
        inputs["generator"] = [digest_file(file) for file in of_generator]

    def make(work: Path, folder: Path) -> None:
        del work  # seconds of arithmetic: nothing to resume
        found = _audit(run, opened, tables, curves, records, failures)
        who, exposed = audit_targets(
            members,
            _claims(records),
            rule=run.study.audit.policy.membership,
            confidence=run.study.audit.confidence,
            doubts={table.target: table.doubt for table in tables},
            sites=sites,
        )
        generator = GeneratorAudit.read(of_generator[0]) if of_generator else None
        found = replace(found, membership=tuple(who), generator=generator)
        write_json(folder / EXPOSED_FILE, _named(exposed))
        more = keep_scores(tables, members, opened, folder) | {"compute": _compute(succeeded)}
        replace(found, provenance={**found.provenance, **more}).write(folder / AUDIT_FILE)

    deliver(open_store(store).build("audit", inputs, make), audit)
    done = Audit.read(audit / AUDIT_FILE)
    matrix = strongest_confusion(done)
    confusion = confusion_metadata(*matrix) if matrix is not None else {}
    return StepResult(metadata={"metrics": verdict_metrics(done), "confusion": confusion})


def _claims(records: Mapping[str, TargetRecord]) -> dict[str, Claim]:
    """Return target -> what its private training promises."""
    stated = {name: record.privacy for name, record in records.items() if record.privacy is not None}
    return {name: Claim(unit=s.unit, epsilon=s.epsilon, delta=s.delta) for name, s in stated.items()}


def _named(exposed: Exposed) -> dict[str, Any]:
    return {
        target: {
            level: {attack: [to_mapping(one) for one in members] for attack, members in attacks.items()}
            for level, attacks in levels.items()
        }
        for target, levels in exposed.items()
    }


def _compute(folders: Sequence[Path]) -> dict[str, str]:
    """Return target -> what the bits of its scores depend on; targets that agree in it are named together."""
    named: dict[str, list[str]] = {}
    for folder in folders:
        file = folder / COMPUTE_FILE
        names = [path.name.removesuffix(f".{SCORES_FILE}") for path in sorted(folder.glob(f"*.{SCORES_FILE}"))]
        named.setdefault(file.read_text() if file.is_file() else "not known", []).extend(names)
    return {", ".join(sorted(names)): line for line, names in named.items()}


def _failures(folders: Sequence[Path], later: Sequence[TargetFailure], run: Plan) -> tuple[TargetFailure, ...]:
    """Return which targets and baselines failed, in order of name; each once, by the first step that failed.

    Raises:
        AuditError: every target did, or the attackers without a model.
    """
    found = [
        replace(failure, role="baseline" if _is_baseline(failure.target, run) else "target")
        for folder in folders
        if (failure := read_failure(folder)) is not None
    ]
    if (lost := next((one for one in found if one.target == WITHOUT_MODEL), None)) is not None:
        why = f"nothing can be judged without the attackers that have no model, which failed: {lost.reason}"
        raise AuditError(f"{why}{try_again([lost])}")
    if found and not any(_is_target(folder) for folder in folders):
        raise AuditError("; ".join(f"{f.target}: {f.reason}" for f in found) + try_again(found))
    first = {(failure.role == GENERATOR, failure.target): failure for failure in (*later, *found)}
    return tuple(sorted(first.values(), key=lambda failure: failure.target))


def _is_baseline(name: str, run: Plan) -> bool:
    config = run.study.targets.get(name)
    return config is not None and config.topology in BASELINE_TOPOLOGIES


def _lacking(run: Plan, failures: Sequence[TargetFailure], records: Mapping[str, TargetRecord]) -> dict[str, str]:
    """Return target -> which of its baselines failed and why; only targets, trained or given, of which one did."""
    study, failed = run.study, {f.target: f.reason for f in failures if f.role == "baseline"}
    architectures = {name: config.architecture for name, config in study.targets.items()}
    architectures |= {name: record.architecture for name, record in records.items() if name in run.sources}
    lacking: dict[str, str] = {}
    for name, architecture in architectures.items():
        for baseline, reason in failed.items():
            same = study.targets[baseline].architecture == architecture
            if same and (architecture != CUSTOM or baseline == own_baseline(name)):
                lacking[name] = f"baseline {baseline!r}, which could explain it, failed: {reason}"
    return lacking


def _is_target(folder: Path) -> bool:
    """Tell whether a folder of scores is of a target, rather than of a baseline, no model or a failure."""
    file = folder / TARGET_FILE
    return file.is_file() and read_record(file).role == "target"


def _gather(folders: Sequence[Path]) -> tuple[list[ScoreTable], pd.DataFrame, dict[str, TargetRecord]]:
    tables: list[ScoreTable] = []
    curves: dict[str, pd.DataFrame] = {}
    records: dict[str, TargetRecord] = {}
    for folder in folders:
        new, curve = read_scores(folder)
        tables += new
        curves[new[0].target] = curve
        if (record_file := folder / TARGET_FILE).exists():
            records[new[0].target] = read_record(record_file)
    names = [t.target for t in tables]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise AuditError(f"target {twice[0]!r} appears twice among the scores; give every target its own name")
    return (
        sorted(tables, key=lambda t: t.target),
        pd.concat([curves[name] for name in sorted(curves)], ignore_index=True),
        records,
    )


def _audit(
    run: Plan,
    cohort: Cohort,
    tables: list[ScoreTable],
    curves: pd.DataFrame,
    records: dict[str, TargetRecord],
    failures: tuple[TargetFailure, ...],
) -> Audit:
    found = audit_attributes(tables, curves, config=run.study.audit, lacking=_lacking(run, failures, records))
    return Audit(
        name=run.study.name,
        cohort_name=cohort.meta.name,
        cohort_digest=cohort.meta.digest,
        cohort=_describe_cohort(cohort),
        config=without_noise_seeds(to_mapping(run.study)),
        targets=tuple(_summary(t, records.get(t.target)) for t in tables),
        failures=failures,
        **vars(found),
        provenance=_provenance(run, cohort, tables),
    )


def _summary(table: ScoreTable, record: TargetRecord | None) -> TargetSummary:
    told = {name: getattr(table, name) for name in ("role", "notes", "doubt", "unconfirmed")}
    own: dict[str, Any] = {"name": table.target} | told
    if record is None:
        return TargetSummary(**own)
    same = {one.name: getattr(record, one.name) for one in fields(TargetSummary) if hasattr(record, one.name)}
    n_train = sum(model.n_train for model in record.models)
    return TargetSummary(**same | own, n_models=len(record.models), n_train=n_train)


def _describe_cohort(cohort: Cohort) -> dict[str, Any]:
    manifest = cohort.manifest
    train = manifest["split"] == TRAIN
    return {
        "scans": len(manifest),
        "train_scans": int(train.sum()),
        "test_scans": int((~train).sum()),
        "patients": int(manifest["patient_id"].nunique()),
        "sites": len(cohort.meta.site_names),
        "shape": list(cohort.meta.shape),
        "classes": list(cohort.meta.class_names),
        "train_scans_per_site": manifest[train].groupby("site_id").size().tolist(),
    }


def _provenance(run: Plan, cohort: Cohort, tables: list[ScoreTable]) -> dict[str, Any]:
    study = run.study
    return {
        "command": run.command,
        "plan_digest": digest_json(to_mapping(run)),
        "digests": {"cohort": cohort.meta.digest} | {t.target: t.target_digest for t in tables if t.target_digest},
        "keys": {t.target: _key(t, study, cohort) for t in tables if t.role == "target"},
        "attack": attack_identity(study.attack, study.protocol),
        "seeds": {
            "cohort": study.cohort.seed if study.cohort else None,
            "targets": {name: target.seed for name, target in study.targets.items()},
            "attackers": list(study.attack.seeds),
            "bootstrap": study.audit.seed,
        },
        "versions": {"flprivacy": __version__, "python": platform.python_version()}
        | library_versions()
        | {"mlflow": version("mlflow"), "kfp": version("kfp")},
    }


def _key(table: ScoreTable, study: StudyConfig, cohort: Cohort) -> str:
    return audit_key(
        target=table.target,
        cohort_digest=cohort.meta.digest,
        target_digest=table.target_digest,
        architecture=table.architecture.partition(":")[0],
        study=study,
    )
