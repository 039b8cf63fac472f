"""The peak memory of evaluating a target's membership with so many references; run by bench_membership.py."""

import resource
import sys
from pathlib import Path

import numpy as np

from flprivacy.attacks.config import MembershipConfig
from flprivacy.auditing.config import MembershipRule
from flprivacy.auditing.membership.targets import audit_targets
from flprivacy.cohorts.phantom.config import PhantomConfig
from flprivacy.cohorts.phantom.generate import phantom_cohort
from flprivacy.cohorts.placed import open_manifest
from flprivacy.core.artifacts import MEMBERSHIP_FILE
from flprivacy.core.cohort import TRAIN
from flprivacy.core.membership_scores import LINEAGE, MembershipScores
from flprivacy.core.reference_scores import ReferenceScores
from flprivacy.study.config import StudyConfig
from flprivacy.study.exposure import attack_with_references
from flprivacy.study.plan import Plan
from flprivacy.training.config import TargetConfig
from flprivacy.training.recipe import recipe_digest

SILOED = TargetConfig(topology="siloed", architecture="cnn3d_small")


def write_tables(folder: Path) -> None:
    """Write tables of a siloed target of the demo's size and of 32 references, as if they had been trained."""
    cohort = phantom_cohort(PhantomConfig(scans=1280, sites=21, shape=(8, 32, 32)), folder / "cohort")
    rng, manifest = np.random.default_rng(0), cohort.manifest
    patient = np.unique(manifest["patient_id"], return_inverse=True)[1]
    half = (rng.permutation(patient.max() + 1) % 2 == 0)[patient]
    names = tuple(f"site-{site:02d}" for site in range(21))
    for index in range(32):
        place = folder / f"reference-{index}"
        place.mkdir()
        confidence = rng.random((21, len(manifest), 1), dtype=np.float32)
        ReferenceScores(
            recipe=recipe_digest(SILOED),
            cohort_digest=cohort.meta.digest,
            index=index,
            models=names,
            probabilities=np.concatenate([confidence, (1.0 - confidence) / 2.0, (1.0 - confidence) / 2.0], axis=-1),
            trained_on=np.tile(half ^ bool(index % 2), (21, 1)),
        ).write(place)
    signals, text = rng.normal(size=len(manifest)), np.full(len(manifest), "one")
    (folder / "target").mkdir()
    MembershipScores(
        target="siloed",
        target_digest="",
        role="target",
        members_from=LINEAGE,
        scan_ids=manifest["scan_id"].to_numpy().astype(np.str_),
        patient_ids=manifest["patient_id"].to_numpy().astype(np.str_),
        sites=text,
        classes=text,
        models=np.array(names)[manifest["site_id"].to_numpy()],
        members=(manifest["split"] == TRAIN).to_numpy(),
        signals=signals,
        scores={"loss": signals},
    ).write(folder / "target" / MEMBERSHIP_FILE)


def peak_memory(folder: Path, count: int) -> float:
    """Attack and audit a target with so many references, as the step does, and return the peak in MiB."""
    study = StudyConfig(name="memory", targets={"siloed": SILOED}, membership=MembershipConfig(references=count))
    run = Plan(pipeline="study", command="", study=study)
    references = [folder / f"reference-{index}" for index in range(count)]
    found, failed = attack_with_references(
        run, open_manifest(folder / "cohort"), [folder / "target"], references, step="evaluate"
    )
    if failed:
        raise RuntimeError(failed[0].reason)
    audit_targets(found, {}, rule=MembershipRule(), confidence=0.95)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


if __name__ == "__main__":
    print(peak_memory(Path(sys.argv[1]), int(sys.argv[2])))
