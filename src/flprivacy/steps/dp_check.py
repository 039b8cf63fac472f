"""Steps ``plan_dp_check`` and ``dp_check``: does private training keep its promise?"""

import platform
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from flprivacy import __version__
from flprivacy.auditing.epsilon.claim import check_claim
from flprivacy.core.artifacts import CHECK_FILE, REPORT_FILE
from flprivacy.core.digests import digest_json
from flprivacy.core.dp_check import CONTRADICTED, DpCheck
from flprivacy.core.errors import AuditError, ConfigError
from flprivacy.core.events import emit
from flprivacy.core.target import TARGET_FILE, TargetRecord
from flprivacy.execution.isolation import need_success
from flprivacy.presets import resolve_study
from flprivacy.steps.plan import repeat_command
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.code_fingerprint import library_versions
from flprivacy.storage.parameters import resolve_mapping
from flprivacy.storage.places import open_store
from flprivacy.study.config import StudyConfig
from flprivacy.study.plan import Plan
from flprivacy.targets.folder import read_target

TARGET_NAME = "dp-check"
_EXCEPT_SCORES = ("included",)


def plan_dp_check(*, preset: str, overrides: Mapping[str, Any], out: Path, preset_digest: str = "") -> str:
    """Write the plan of pipeline ``dp_check`` and return the name of the target to train.

    Args:
        preset: name of a preset or path of a YAML file; its cohort, protocol and dp_check sections are used.
        overrides: nested fields to replace.
        out: plan file to write.
        preset_digest: SHA-256 that a preset given as file must have; empty: any.

    Raises:
        ConfigError: a wrong preset or field, or no cohort to make.
    """
    overrides = resolve_mapping(overrides, "overrides")
    study = resolve_study(preset, overrides, digest=preset_digest)
    if study.cohort is None:
        raise ConfigError(f"preset {preset!r}: no cohort to make; add a 'cohort' section")
    trained = StudyConfig(
        name=study.name,
        cohort=study.cohort,
        protocol=study.protocol,
        targets={TARGET_NAME: study.dp_check.target},
        dp_check=study.dp_check,
    )
    Plan(pipeline="dp_check", command=repeat_command("dp_check", preset, overrides), study=trained).write(out)
    return TARGET_NAME


def dp_check(*, plan: Path, target: Path, store: str, out: Path) -> DpCheck:
    """Put ``dp_check.json`` and ``report.html`` at ``out`` and return what was found.

    Args:
        plan: the run's plan.
        target: folder of the target that was trained with canaries.
        store: the store's location.
        out: folder to write.

    Raises:
        AuditError: the target holds no canaries or claims nothing.
        TargetError: it is no valid target.
        TrainingError: its training failed.
    """
    need_success(target)
    run, record = Plan.read(plan), read_target(target)
    confidence = run.study.dp_check.confidence
    inputs = {"target": record.digest, "claim": [record.epsilon, record.delta], "confidence": confidence}

    def make(work: Path, folder: Path) -> None:
        del work  # seconds of arithmetic: nothing to resume
        from flprivacy.reporting.dp_check import write_dp_check  # imports matplotlib: only when there is work

        found = check_target(target, record, confidence=confidence)
        cohort = {"cohort": run.study.cohort.name} if run.study.cohort else {}
        found = replace(found, provenance=_provenance(run.command, record) | cohort)
        found.write(folder / CHECK_FILE)
        write_dp_check(found, folder / REPORT_FILE)

    deliver(open_store(store).build("dp_check", inputs | {"command": run.command}, make), out)
    return DpCheck.read(out / CHECK_FILE)


def check_target(target: Path, record: TargetRecord, *, confidence: float) -> DpCheck:
    """Set what a target's canaries prove against what it claims.

    Args:
        target: its folder.
        record: its ``target.json``.
        confidence: with which all bounds hold together.

    Raises:
        AuditError: it holds no canaries or claims nothing.
    """
    if not record.canaries or record.privacy is None or record.epsilon is None or record.delta is None:
        raise AuditError(
            f"{target / TARGET_FILE}: names no canaries or no epsilon; train a private target with canaries"
        )
    table = pd.read_parquet(target / record.canaries)
    included = table["included"].to_numpy(dtype=bool)
    scores = {str(name): table[name].to_numpy(dtype=float) for name in table.columns if name not in _EXCEPT_SCORES}
    found = check_claim(included, scores, claimed_epsilon=record.epsilon, delta=record.delta, confidence=confidence)
    return DpCheck(
        name=record.name,
        target_digest=record.digest,
        cohort_digest=record.cohort_digest,
        claim=record.privacy.words,
        claimed_epsilon=record.epsilon,
        delta=record.delta,
        unit=record.privacy.unit,
        canaries=str(record.training["canaries"]["kind"]),
        n_included=int(included.sum()),
        n_excluded=int((~included).sum()),
        confidence=confidence,
        bounds=found.bounds,
        epsilon_lower=found.epsilon_lower,
        verdict=found.verdict,
        reason=found.reason,
        scores={
            name: {"in": tuple(values[included].tolist()), "out": tuple(values[~included].tolist())}
            for name, values in scores.items()
        },
    )


def check_dp_policy(*, check: Path, fail_on_leak: bool) -> str:
    """Return the verdict.

    Args:
        check: folder of ``dp_check.json``.
        fail_on_leak: fail where the claim is contradicted.

    Raises:
        AuditError: it is, and the caller asks to fail then.
    """
    emit("result", check=str(check))
    found = DpCheck.read(check / CHECK_FILE)
    if fail_on_leak and found.verdict == CONTRADICTED:
        raise AuditError(f"{found.name}: {found.reason}")
    return found.verdict


def _provenance(command: str, record: TargetRecord) -> dict[str, Any]:
    versions = {"flprivacy": __version__, "python": platform.python_version()} | library_versions()
    return {
        "command": command,
        "digests": {"target": record.digest, "cohort": record.cohort_digest},
        "training_digest": digest_json(record.training),
        "training": record.training,
        "dp_events": [dict(event) for event in record.dp_events],
        "versions": versions,
    }
