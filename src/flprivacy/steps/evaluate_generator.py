"""Step ``evaluate_generator``: does a generator copy its patients, and are its scans any good?"""

import html
import platform
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from flprivacy import __version__
from flprivacy.cohorts.format import open_cohort
from flprivacy.cohorts.metadata import read_meta
from flprivacy.cohorts.placed import open_rows
from flprivacy.core.artifacts import (
    GENERATOR_AUDIT_FILE,
    MEMBERSHIP_FILE,
    REPORT_FILE,
)
from flprivacy.core.errors import GeneratorError
from flprivacy.core.generator_audit import GeneratorAudit
from flprivacy.core.parsing import to_mapping
from flprivacy.core.publish import publish_folder
from flprivacy.core.tensorflow_environment import import_keras
from flprivacy.execution.container import StepResult
from flprivacy.execution.isolation import read_generator_failure
from flprivacy.execution.passing import Open
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.code_fingerprint import library_versions
from flprivacy.storage.places import open_store
from flprivacy.study.generator import for_generator
from flprivacy.study.plan import Plan
from flprivacy.synthesis.folder import PRIVATE_FOLDER, read_generator, read_lineage


def evaluate_generator(
    *,
    plan: Path,
    cohort: Path,
    generator: Path,
    synthetic: Path,
    store: str,
    generator_audit: Path,
    page: Open,
) -> StepResult:
    """Check a generator: does it copy patients, does it tell who was trained on, and are its scans any good?

    Its scans are held against those that it was trained on and against held-out ones.

    Args:
        cohort: the cohort that the generator was trained on, with all volumes.
        generator: the generator, with its private part; empty where the plan asks for none.
        synthetic: cohort of its scans.
        generator_audit: folder to write: ``generator_audit.json``, its page and figures; and for the auditors alone
            ``patients.html``, which shows patients beside synthetic scans, and the scores of the attacks on the
            generator's members. Empty without a generator.
        page: file to write: the page alone, for the UI.

    Returns:
        The p-value of the test for copies, whether any were found, and how good the scans are.

    Raises:
        GeneratorError: the generator's folder is damaged, or the scans are another generator's or another cohort's.
        AuditError: too few scans or patients to compare.
    """
    run = Plan.read(plan)
    if not any(generator.iterdir()):
        with publish_folder(generator_audit):
            page.write_text("<p>The plan asks for no generator.</p>\n")
            return StepResult()

    def checked() -> StepResult:
        return _checked(run, cohort, generator, synthetic, store, generator_audit)

    result = for_generator(run, "evaluate_generator", checked, inputs=(generator, synthetic), output=generator_audit)
    if (failure := read_generator_failure(generator_audit)) is not None:
        page.write_text(f"<p>There is no generator to show: {html.escape(failure.reason)}</p>\n")
    else:
        shutil.copyfile(generator_audit / REPORT_FILE, page)
    return result


def _checked(run: Plan, cohort: Path, generator: Path, synthetic: Path, store: str, out: Path) -> StepResult:
    record, meta, made = read_generator(generator), read_meta(cohort), read_meta(synthetic, synthetic=True)
    origin, lineage = made.synthetic_from, read_lineage(generator / PRIVATE_FOLDER)
    if origin is None or origin.generator != record.digest:
        raise GeneratorError(f"{synthetic}: its scans are not of {generator}; make scans of this generator")
    if lineage.cohort_digest != meta.digest:
        raise GeneratorError(
            f"{generator}: was trained on cohort {lineage.cohort_digest[:12]}, not on {meta.name!r} "
            f"({meta.digest[:12]}), whose held-out scans it is judged by; give the cohort that it was trained on"
        )
    audited = run.study.audit
    rule = audited.policy.membership
    inputs: dict[str, Any] = {
        "generator": record.digest,
        "cohort": meta.digest,
        "synthetic": made.digest,
        "rule": to_mapping(rule) if rule is not None else None,
        "confidence": audited.confidence,
        "phantoms": not run.cohort,
        "command": run.command,
    }

    def make(work: Path, folder: Path) -> None:
        del work  # a minute on the scans of a study: nothing to resume
        import_keras()
        from flprivacy.reporting.html import write_generator_pages
        from flprivacy.synthesis.checks.audit import audit_generator  # imports Keras: only when there is work

        found, members = audit_generator(
            generator,
            open_rows(cohort, lambda one: np.arange(len(one.manifest))),
            open_cohort(synthetic, synthetic=True),
            phantoms=not run.cohort,
            rule=rule,
            confidence=audited.confidence,
        )
        found = replace(found, provenance=_provenance(run.command, found))
        write_generator_pages(found, folder)
        members.write(folder / MEMBERSHIP_FILE)
        found.without_patients().write(folder / GENERATOR_AUDIT_FILE)

    deliver(open_store(store).build("generator_audit", inputs, make), out)
    return StepResult(metadata={"metrics": _metrics(GeneratorAudit.read(out / GENERATOR_AUDIT_FILE))})


def _metrics(audit: GeneratorAudit) -> dict[str, float]:
    copies = audit.memorisation
    fidelity, diversity = audit.fidelity, audit.diversity
    quality = {"frechet": fidelity.distance.value, "frechet_of_real": fidelity.floor.value} if fidelity else {}
    quality |= {"coverage": diversity.coverage} if diversity else {}
    privacy = {"memorisation_p_value": copies.p_value, "copies": float(copies.p_value <= copies.error_rate)}
    return {**privacy, **quality} | {
        f"agreement_{one.condition}": one.synthetic.value for one in reversed(audit.agreement)
    }


def _provenance(command: str, audit: GeneratorAudit) -> dict[str, Any]:
    return {
        "command": command,
        "digests": {
            "generator": audit.generator_digest,
            "cohort": audit.cohort_digest,
            "synthetic cohort": audit.synthetic_digest,
        },
        "versions": {"flprivacy": __version__, "python": platform.python_version()} | library_versions(),
    }
