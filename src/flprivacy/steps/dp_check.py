"""Step ``dp_check``: does private training keep its promise?"""

import platform
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from flprivacy import __version__
from flprivacy.auditing.epsilon.audit import audit_epsilon
from flprivacy.core.artifacts import CHECK_FILE, REPORT_FILE
from flprivacy.core.digests import digest_json
from flprivacy.core.dp_check import CONTRADICTED, NOT_CONTRADICTED, DpCheck, RepeatedCheck
from flprivacy.core.errors import AuditError
from flprivacy.core.target import TARGET_FILE, TargetRecord
from flprivacy.core.tensorflow_environment import import_keras
from flprivacy.execution.container import StepResult
from flprivacy.execution.isolation import need_success
from flprivacy.execution.passing import Open
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.code_fingerprint import library_versions
from flprivacy.storage.places import open_store
from flprivacy.study.plan import Plan
from flprivacy.targets.folder import read_target
from flprivacy.targets.lineage import private_part, released_training

if TYPE_CHECKING:
    from flprivacy.training.worst_cases import Trials

_EXCEPT_SCORES = ("included",)


def dp_check(*, plan: Path, target: Path, store: str, check: Open, page: Open) -> StepResult:
    """Set the lower bound on epsilon that a target's canaries prove against the epsilon that its training claims.

    Beside it, tiny trainings by the same code are repeated with and without one unit, for mistakes that only they show.

    Args:
        target: a private target that was trained with canaries.
        check: folder to write: ``dp_check.json`` and its report.
        page: file to write: the report alone, for the UI.

    Returns:
        The claimed epsilon, the strongest lower bound, and 1 if the claim is contradicted.

    Raises:
        AuditError: the target holds no canaries or claims nothing.
        TargetError: it is no valid target.
        TrainingError: its training failed.
    """
    need_success(target)
    run, record = Plan.read(plan), read_target(target)
    confidence = run.study.audit.confidence
    inputs = {"target": record.digest, "claim": [record.epsilon, record.delta], "confidence": confidence}

    def make(work: Path, folder: Path) -> None:
        del work  # less than a minute: nothing to resume
        from flprivacy.reporting.dp_check import write_dp_check  # imports matplotlib: only when there is work

        found = check_target(target, record, confidence=confidence, cases=_worst_cases(target, record))
        cohort = {"cohort": run.study.cohort.name} if run.study.cohort else {}
        found = replace(found, provenance=_provenance(run.command, record, found.cohort_digest) | cohort)
        found.write(folder / CHECK_FILE)
        write_dp_check(found, folder / REPORT_FILE)

    deliver(open_store(store).build("dp_check", inputs | {"command": run.command}, make), check)
    shutil.copyfile(check / REPORT_FILE, page)
    done = DpCheck.read(check / CHECK_FILE)
    metrics = {"claimed_epsilon": done.claimed_epsilon, "epsilon_lower": done.epsilon_lower}
    return StepResult(metadata={"metrics": metrics | {"contradicted": float(done.verdict == CONTRADICTED)}})


def _worst_cases(target: Path, record: TargetRecord) -> list["Trials"]:
    """Train the worst cases, drawn from the canaries' seed so that a repeated check finds the same."""
    import_keras()
    from flprivacy.privacy.gradients import prepare_process  # imports Keras: only when there is work
    from flprivacy.training.worst_cases import worst_cases

    prepare_process()
    part = private_part(target, record)
    seed = part.lineage.training.get("canaries", {}).get("seed", 0) if part is not None else 0
    return worst_cases(seed=seed)


def check_target(target: Path, record: TargetRecord, *, confidence: float, cases: Sequence["Trials"] = ()) -> DpCheck:
    """Set what a target's canaries and the worst cases of private training prove against what each claims.

    All bounds hold together with ``confidence``, each check taking an equal share of the error.

    Raises:
        AuditError: the target holds no canaries or claims nothing.
    """
    part = private_part(target, record)
    canaries = part.lineage.canaries if part is not None else ""
    if part is None or not canaries or record.privacy is None or record.epsilon is None or record.delta is None:
        raise AuditError(
            f"{target / TARGET_FILE}: holds no canaries or states no epsilon; train a private target with canaries"
        )
    table = pd.read_parquet(part.folder / canaries)
    included = table["included"].to_numpy(dtype=bool)
    scores = {str(name): table[name].to_numpy(dtype=float) for name in table.columns if name not in _EXCEPT_SCORES}
    ins, outs = ({name: values[chosen] for name, values in scores.items()} for chosen in (included, ~included))
    share = 1.0 - (1.0 - confidence) / (1 + len(cases))
    found = audit_epsilon(ins, outs, delta=record.delta, confidence=share, claimed_epsilon=record.epsilon)
    repeated = tuple(_check_case(case, share) for case in cases)
    broken = [f"{case.name}: {case.reason}" for case in repeated if case.verdict == CONTRADICTED]
    by_canaries = found.verdict == CONTRADICTED
    return DpCheck(
        name=record.name,
        target_digest=record.digest,
        cohort_digest=part.lineage.cohort_digest,
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
        verdict=CONTRADICTED if by_canaries or broken else NOT_CONTRADICTED,
        reason=broken[0] if broken and not by_canaries else found.reason,
        scores={name: {"in": tuple(ins[name].tolist()), "out": tuple(outs[name].tolist())} for name in scores},
        worst_cases=repeated,
    )


def _check_case(case: "Trials", confidence: float) -> RepeatedCheck:
    ins, outs = ({"repeated": case.scores[chosen]} for chosen in (case.included, ~case.included))
    found = audit_epsilon(ins, outs, delta=case.delta, confidence=confidence, claimed_epsilon=case.epsilon)
    return RepeatedCheck(
        name=case.name,
        what=case.what,
        trials=len(case.scores),
        claimed_epsilon=case.epsilon,
        delta=case.delta,
        bounds=found.bounds,
        verdict=found.verdict,
        reason=found.reason,
    )


def _provenance(command: str, record: TargetRecord, cohort_digest: str) -> dict[str, Any]:
    training = released_training(record.training)
    versions = {"flprivacy": __version__, "python": platform.python_version()} | library_versions()
    return {
        "command": command,
        "digests": {"target": record.digest, "cohort": cohort_digest},
        "training_digest": digest_json(training),
        "training": training,
        "dp_events": [dict(event) for event in record.dp_events],
        "versions": versions,
    }
