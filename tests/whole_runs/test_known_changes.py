"""Re-audits on known truths, from what is published to MLflow: unchanged, attacked again, and made leakier.

A model learns the keys of the planted pattern (test_known_truths.py), as a network that was trained too long would.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from flprivacy.attacks.baselines import attack_pixels, majority
from flprivacy.attacks.config import AttackConfig
from flprivacy.attacks.frozen import FrozenAttack
from flprivacy.attacks.membership.thresholds import membership_loss
from flprivacy.attacks.results import tables
from flprivacy.attacks.scenario import prepare
from flprivacy.core.artifacts import MEMBERSHIP_FILE
from flprivacy.core.audit import Audit
from flprivacy.core.change import (
    FIRST_AUDIT,
    NO_CHANGE,
    NOT_COMPARABLE,
    TOO_LITTLE_POWER,
    WORSE,
    AuditChange,
    FoundTargets,
)
from flprivacy.core.cohort import TRAIN, Cohort
from flprivacy.core.digests import digest_bytes
from flprivacy.core.errors import PolicyError
from flprivacy.core.membership_scores import LINEAGE, MembershipScores
from flprivacy.core.parsing import to_mapping
from flprivacy.core.scores import write_scores
from flprivacy.core.target import ModelRecord, TargetRecord
from flprivacy.reporting.stored import deliver_report
from flprivacy.steps.check_change import check_change
from flprivacy.steps.compare_audits import compare_audits
from flprivacy.steps.evaluate import evaluate
from flprivacy.steps.find_targets import find_targets
from flprivacy.steps.log_mlflow import log_mlflow
from flprivacy.steps.plan_audit import plan_audit
from tests.whole_runs.test_known_truths import _cohort, _fresh, _keys, _linear

NET = "cnn3d_small"  # what the records call the linear network
OVERRIDES: dict[str, Any] = {
    "attack": {"attributes": ["site"], "accesses": ["features"], "fractions": [0.25], "epochs": 12},
    "audit": {"bootstrap": 200},
}


class World:
    """A hospital network's published models, its store and its MLflow."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.cohort = root, _cohort(root / "cohort", amplitude=2.0)
        self.uri, self.runs = f"sqlite:///{root / 'mlflow.db'}", 0
        monkeypatch.setenv("MLFLOW_TRACKING_URI", self.uri)
        monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)

    def publish(self, version: str, *, name: str = "central") -> None:
        """Put a target folder where the newest counts; what its weights hold is told to ``attacked`` by hand."""
        folder = self.root / "published" / name / version
        folder.mkdir(parents=True)
        weights = f"weights of {name} {version}".encode()
        (folder / "model.weights.h5").write_bytes(weights)
        record = TargetRecord(
            name=name,
            role="target",
            topology="central",
            architecture=NET,
            shape=self.cohort.meta.shape,
            n_classes=3,
            protocol="standard",
            digest=digest_bytes(weights),
            models=(ModelRecord(name="model", weights="model.weights.h5", sha256=digest_bytes(weights), n_train=360),),
        )
        (folder / "target.json").write_text(json.dumps(to_mapping(record)))

    def find(self, overrides: dict[str, Any], cohort: Path | None = None) -> tuple[dict[str, str], Path]:
        """Return what must be audited, and the folder that says it."""
        self.runs += 1
        out = self.root / f"run-{self.runs}" / "found"
        result = find_targets(
            cohort=str(cohort or self.cohort.folder),
            targets={},
            targets_from=(str(self.root / "published"),),
            preset="demo",
            overrides=overrides,
            found=out,
            store=str(self.root / "store"),
        )
        return dict(result.parameters["targets"]), out

    def audit(
        self,
        changed: dict[str, str],
        found: Path,
        overrides: dict[str, Any],
        *,
        knows_keys: bool,
        remembers: float | None = None,
        written_before: bool = False,
    ) -> Path:
        """Do what the pipeline does from here on, and return the audit with its change.

        ``written_before``: the audit is as it was written before its questions were told apart.
        """
        run, plan = found.parent, found.parent / "plan.json"
        folder, store = str(self.cohort.folder), str(self.root / "store")
        plan_audit(
            preset="demo",
            overrides=overrides,
            cohort=folder,
            targets=changed,
            plan=plan,
            scans=run / "scans",
            store=store,
        )
        config = AttackConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in overrides["attack"].items()})
        targets, pixels = _attack(self.cohort, config, changed, run, self.root / "work", knows_keys=knows_keys)
        if remembers is not None:
            _attack_members(self.cohort, targets[0] / "membership", gain=remembers, seed=self.runs)
        evaluate(
            plan=plan,
            cohort=self.cohort.folder,
            target_scores=(*targets, pixels),
            store=store,
            audit=run / "audit",
        )
        if written_before:
            _write_as_before(run / "audit" / "audit.json")
        compare_audits(audit=run / "audit", found=found, compared=run / "compared")
        (run / "report").mkdir()
        assert log_mlflow(audit=run / "compared", report=run / "report", store=store) != ""
        return run / "compared"


def _write_as_before(path: Path) -> None:
    """Take out of an audit what was not there before questions were told apart."""
    audit = json.loads(path.read_text())
    for verdict in audit["verdicts"]:
        del verdict["question"], verdict["looks"]
    for excess in audit["excesses"] + audit["comparisons"]:
        for name in (
            "as_good",
            "standard_error",
            "degrees",
            "of_class",
            "strongest_of",
            "patients_share",
            "seeds_share",
        ):
            del excess[name]
    for rule in audit["config"]["audit"]["policy"]["rules"].values():
        del rule["questions"], rule["also"], rule["one_class"]
    del audit["associations"]
    path.write_text(json.dumps(audit))


def _attack(
    cohort: Cohort, config: AttackConfig, changed: dict[str, str], run: Path, work: Path, *, knows_keys: bool
) -> tuple[tuple[Path, ...], Path]:
    scenario, folders = prepare(config, cohort, protocol="standard"), []
    trained = _fresh(0)
    if knows_keys:
        trained[: len(_keys())] = _keys()
    models = {"central": [_linear(trained)], f"untrained-{NET}": [_linear(_fresh(seed)) for seed in range(1, 6)]}
    for name, sources in models.items():
        record = json.loads((Path(changed["central"]) / "target.json").read_text())
        role = "target" if name == "central" else "baseline"
        digest = record["digest"] if name == "central" else "fresh"
        done = FrozenAttack(scenario, sources, target=name, work=work / name).run(["features"])
        table, curves = tables(scenario, done, target=name, digest=digest, role=role, architecture=NET, notes={})
        folders.append(run / "scores" / name)
        write_scores(folders[-1], [table], curves)
        (folders[-1] / "target.json").write_text(json.dumps(record | {"name": name, "role": role, "digest": digest}))
    table, curves = attack_pixels(config, cohort, protocol="standard", work=work / "pixels")
    write_scores(run / "scores" / "none", [table, majority(config, cohort)], curves)
    return tuple(folders), run / "scores" / "none"


def _attack_members(cohort: Cohort, folder: Path, *, gain: float, seed: int) -> None:
    """Leave what attack_membership leaves of a model whose signals are higher by ``gain`` on what it was trained on."""
    manifest = cohort.manifest
    members = (manifest["split"] == TRAIN).to_numpy()
    signals = np.random.default_rng(seed).normal(size=len(members)) + gain * members
    unsaid = np.full(len(members), "-")
    table = MembershipScores(
        target="central",
        target_digest="",
        role="target",
        members_from=LINEAGE,
        scan_ids=manifest["scan_id"].to_numpy().astype(np.str_),
        patient_ids=manifest["patient_id"].to_numpy().astype(np.str_),
        sites=unsaid,
        classes=unsaid,
        models=unsaid,
        members=members,
        signals=signals,
        scores={"loss": membership_loss(signals)},
    )
    folder.mkdir()
    table.write(folder / MEMBERSHIP_FILE)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_a_model_from_its_first_audit_to_its_leak(world: World) -> None:
    world.publish("2026-11-03")
    changed, found = world.find(OVERRIDES)
    assert changed == {"central": str(world.root / "published" / "central" / "2026-11-03")}
    audit = world.audit(changed, found, OVERRIDES, knows_keys=False)
    assert AuditChange.read(audit / "change.json").verdict == FIRST_AUDIT

    nothing, found = world.find(OVERRIDES)  # nothing new is published
    assert nothing == {}
    unchanged = AuditChange.read(found / "change.json")
    assert unchanged.verdict == NO_CHANGE
    assert not unchanged.targets[0].audited
    assert check_change(change=found, fail_on_worse=True) == NO_CHANGE

    again = {**OVERRIDES, "attack": {**OVERRIDES["attack"], "seeds": [5, 6, 7, 8, 9]}}
    changed, found = world.find(again)  # the same model, attacked again with other seeds
    assert list(changed) == ["central"]
    audit = world.audit(changed, found, again, knows_keys=False, remembers=0.5)
    change = AuditChange.read(audit / "change.json")
    assert change.verdict == TOO_LITTLE_POWER
    assert len(change.targets[0].attacks) == 1
    assert change.targets[0].membership == ()
    assert change.targets[0].note == "its last audit has no numbers of who was trained on, so nothing is said of that"

    world.publish("2026-11-10")  # it has learned the keys
    changed, found = world.find(OVERRIDES)
    assert changed == {"central": str(world.root / "published" / "central" / "2026-11-10")}
    audit = world.audit(changed, found, OVERRIDES, knows_keys=True)
    change = AuditChange.read(audit / "change.json")
    (target,) = change.targets
    (attack,) = target.attacks
    assert (change.verdict, target.verdict) == (WORSE, WORSE)
    assert attack.value > 0.4
    assert attack.ci_low > 0.0
    assert attack.p_adjusted < 0.05
    assert f"{attack.before:.3f} before, {attack.now:.3f} now" in target.reason
    with pytest.raises(PolicyError, match="changed for the worse, such as central: site from features"):
        check_change(change=audit, fail_on_worse=True)
    deliver_report(audit, world.root / "report", store=str(world.root / "store"))
    page = (world.root / "report" / "report.html").read_text()
    assert "Since the last audit" in page
    assert "Changed for the worse" in page

    client = MlflowClient(world.uri)
    experiment = client.get_experiment_by_name("planted").experiment_id
    runs = client.search_runs([experiment], "tags.`audit.kind` = 'audit'", order_by=["attributes.start_time"])
    assert [run.data.tags["audit.change"] for run in runs] == [FIRST_AUDIT, TOO_LITTLE_POWER, WORSE]
    assert target.previous is not None
    assert target.previous.run_id == runs[1].info.run_id
    assert runs[2].data.metrics["central.site.features.change_f1.ci_low"] == pytest.approx(attack.ci_low)
    _check_no_identifier(world)


def test_an_audit_of_before_questions_were_told_apart_is_read_from_mlflow_with_a_note(world: World) -> None:
    world.publish("1")
    world.audit(*world.find(OVERRIDES), OVERRIDES, knows_keys=False, written_before=True)
    world.publish("2")
    audit = world.audit(*world.find(OVERRIDES), OVERRIDES, knows_keys=True)
    (target,) = AuditChange.read(audit / "change.json").targets
    assert target.verdict == WORSE
    assert [attack.attack.attribute for attack in target.attacks] == ["site"]
    assert target.note.startswith("its last audit held attacks without the scan against pixels, too")


def test_a_model_that_was_trained_until_it_knew_its_patients_is_called_worse(world: World) -> None:
    world.publish("1")
    world.audit(*world.find(OVERRIDES), OVERRIDES, knows_keys=False, remembers=0.3)
    world.publish("2")
    _, found = world.find(OVERRIDES)
    audit = world.audit(*world.find(OVERRIDES), OVERRIDES, knows_keys=False, remembers=4.0)
    (target,) = AuditChange.read(audit / "change.json").targets
    assert target.verdict == WORSE
    assert "membership by loss (paired by scan): AUC" in target.reason
    assert {(c.by, c.metric, c.paired) for c in target.membership} == {
        ("loss", "tpr_at_fpr_0.01", False),
        ("loss", "auc", True),
    }
    with pytest.raises(PolicyError, match="changed for the worse, such as central: membership by loss"):
        check_change(change=audit, fail_on_worse=True)
    (area,) = (c for c in target.membership if c.metric == "auc")
    client = MlflowClient(world.uri)
    experiment = client.get_experiment_by_name("planted").experiment_id
    *_, run = client.search_runs([experiment], "tags.`audit.kind` = 'audit'", order_by=["attributes.start_time"])
    assert run.data.metrics["central.membership.scan.loss.change_auc"] == pytest.approx(area.value)
    _check_no_identifier(world, tables=10)

    older = Audit.read(audit / "audit.json")  # as if it had been made before tables were kept
    older = replace(older, provenance={k: v for k, v in older.provenance.items() if k != "membership_scores"})
    (target,) = _compared(world, older, audit, found).targets
    assert not any(c.paired for c in target.membership)
    assert "one of the two audits kept no scores of members" in target.note


def _check_no_identifier(world: World, tables: int = 13) -> None:
    """No pseudonym of the cohort is in MLflow, in its database or its artifacts, in plain or as Parquet stores it."""
    manifest = world.cohort.manifest
    names = [str(n).encode() for n in (*manifest["scan_id"], *manifest["patient_id"])]
    files = [world.root / "mlflow.db", *(f for f in (world.root / "mlartifacts").rglob("*") if f.is_file())]
    # 4 of an audit, and one more where members were asked about
    assert len([f for f in files if f.suffix == ".parquet"]) == tables
    for file in files:
        data = file.read_bytes()
        if file.suffix == ".parquet":
            import pyarrow.parquet as pq

            data += str(pq.read_table(file).to_pydict()).encode()
        assert not [name for name in names if name in data], file


def test_what_is_not_the_same_is_not_compared_with(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish("1")
    first = world.audit(*world.find(OVERRIDES), OVERRIDES, knows_keys=False).parent / "audit"
    now = Audit.read(first / "audit.json")

    other = _cohort(world.root / "other", amplitude=1.0)
    _, found = world.find(OVERRIDES, cohort=other.folder)
    (one,) = FoundTargets.read(found / "found.json").targets
    assert one.changed
    assert one.previous is not None
    assert one.previous.cohort_digest == now.cohort_digest != other.meta.digest
    assert "other patients" in _reason(world, replace(now, cohort_digest=other.meta.digest), first, found)

    world.publish("2")
    _, found = world.find(OVERRIDES)
    assert _compared(world, now, first, found).verdict == TOO_LITTLE_POWER, "the very same scores"
    attack = {**now.provenance["attack"], "code": "of a later version"}
    better = replace(now, provenance={**now.provenance, "attack": attack})
    assert "the attacks of the two audits differ in code" in _reason(world, better, first, found)

    with monkeypatch.context() as away:  # a server that stays away does not lose the audit
        away.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        away.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # it is not waited for
        assert "could not be fetched" in _reason(world, now, first, found)

    (scores,) = (world.root / "mlartifacts").rglob("central.parquet")
    scores.write_bytes(scores.read_bytes() + b"x")
    assert "missing or were changed since" in _reason(world, now, first, found)
    (filed,) = (world.root / "mlartifacts").rglob("audit.json")
    filed.write_text(filed.read_text() + " ")
    assert "not the one that was filed" in _reason(world, now, first, found)


def _compared(world: World, audit: Audit, scores: Path, found: Path) -> AuditChange:
    """Compare an audit of the world's first scores, with some fact of it changed."""
    folder = world.root / "changed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(scores, folder)
    audit.write(folder / "audit.json")
    compare_audits(audit=folder, found=found, compared=world.root / "compared")
    return AuditChange.read(world.root / "compared" / "change.json")


def _reason(world: World, audit: Audit, scores: Path, found: Path) -> str:
    (target,) = _compared(world, audit, scores, found).targets
    assert target.verdict == NOT_COMPARABLE
    return target.reason
