"""Foreign files through every step of an audit: a partial legacy file, a network of the user's own, initial weights."""

from pathlib import Path

import h5py
import keras
import pytest
from keras import layers
from mlflow import MlflowClient
from rich.console import Console

from flprivacy.cohorts.phantom.config import PhantomConfig
from flprivacy.cohorts.phantom.generate import phantom_cohort
from flprivacy.core.audit import Audit
from flprivacy.core.parts import names_of
from flprivacy.models.registry import build
from flprivacy.reporting.stored import deliver_report
from flprivacy.reporting.terminal import summary_table
from flprivacy.steps.attack_target import attack_target
from flprivacy.steps.evaluate import evaluate
from flprivacy.steps.plan_audit import plan_audit
from flprivacy.tracking.results import sync

SHAPE = (8, 32, 40)
_PRESET = """
targets:
  untrained: {{topology: untrained, initialisations: 2}}
  initial: {{topology: pretrained, weights: {folder}/initial.h5}}
attack: {{fractions: [0.3], seeds: [0, 1], attributes: [sex], epochs: 2, views: 1, batch_size: 32}}
audit: {{bootstrap: 100}}
"""


def _files(folder: Path) -> None:
    build("cnn3d_small", shape=SHAPE, n_classes=3, seed=3).model.save(folder / "part.h5")
    with h5py.File(folder / "part.h5", "a") as file:
        trunk = file["model_weights/trunk"]
        trunk.attrs["weight_names"] = [name for name in trunk.attrs["weight_names"] if name != "stem_conv/bias"]
        del trunk["stem_conv/bias"]
    build("cnn3d_small", shape=SHAPE, n_classes=3, seed=4).trunk.save(folder / "initial.h5")
    scan = keras.Input((*SHAPE, 1))
    x = layers.GlobalAveragePooling3D()(layers.Conv3D(6, 3, strides=2, activation="relu")(scan))
    keras.Model(scan, layers.Dense(3)(layers.Dense(8, name="embedding")(x))).save(folder / "own.keras")


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> tuple[Audit, Path]:
    root = tmp_path_factory.mktemp("foreign")
    _files(root)
    (root / "preset.yaml").write_text(_PRESET.format(folder=root))
    store, plan, cohort = str(root / "store"), root / "plan.json", root / "cohort"
    phantom_cohort(PhantomConfig(name="foreign", scans=72, sites=2, shape=SHAPE, seed=7), cohort)
    targets = {
        "part": f"{root}/part.h5,allow_partial=true,topology=central",
        "own": f"{root}/own.keras,feature_layer=embedding",
    }
    planned = plan_audit(
        preset=str(root / "preset.yaml"), overrides={}, cohort=str(cohort), targets=targets, plan=plan, store=store,
        scans=root / "scans",
    )  # fmt: skip
    scores = tuple(root / "scores" / name for part in planned.parameters["Output"] for name in names_of(part))
    for place in scores:
        attack_target(plan=plan, cohort=cohort, target_name=place.name, store=store, scores=place)
    evaluate(plan=plan, cohort=cohort, target_scores=scores, store=store, audit=root / "audit")
    deliver_report(root / "audit", root / "report", store=store)
    return Audit.read(root / "audit" / "audit.json"), root


def test_every_file_is_attacked_beside_its_baselines(audited: tuple[Audit, Path]) -> None:
    audit, _ = audited
    found = {t.name: (t.role, t.topology, t.architecture, t.tensors_matched, t.tensors_total) for t in audit.targets}
    assert found["part"] == ("target", "central", "cnn3d_small", 19, 20)
    assert found["own"] == ("target", None, "custom", 6, 6)
    assert found["initial"] == ("baseline", "pretrained", "cnn3d_small", 20, 20)
    assert found["untrained-own"][:3] == ("baseline", "untrained", "custom")
    attacks = {(m.attack.target, m.attack.access) for m in audit.metrics}
    assert attacks >= {("own", "features"), ("own", "outputs"), ("part", "features"), ("part", "outputs")}
    assert ("initial", "features") in attacks
    assert ("initial", "outputs") not in attacks  # the file holds no head: they would be nobody's
    excesses = {(e.attack.target, e.baseline, e.attack.access) for e in audit.excesses}
    assert excesses >= {("part", "initial", "features"), ("own", "untrained-own", "outputs")}


def test_members_of_given_files_are_the_training_split_and_it_is_said(audited: tuple[Audit, Path]) -> None:
    audit, _ = audited
    assert {f.target for f in audit.membership} == {"own", "part"}
    for finding in audit.membership:
        assert finding.members_from == "split"
        assert finding.n_members > 5 < finding.n_non_members
        assert {attack.attack for attack in finding.attacks} == {"loss", "population"}
        assert "do not resolve a false positive rate of 0.01" in finding.reason
        assert any("nobody stated" in text for text in finding.caveats)


def test_a_partial_load_stands_in_every_table(
    audited: tuple[Audit, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit, root = audited
    screen = Console(width=120, record=True, file=(tmp_path / "out").open("w"))
    screen.print(summary_table(audit))
    first_column = " ".join(" ".join(line[:20] for line in screen.export_text().splitlines()).split())
    assert "only 19 of 20 tensors loaded" in first_column
    assert "only 19 of 20 tensors loaded" in (root / "report" / "report.html").read_text()
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    logged = sync(audit=root / "audit", report=root / "report")
    client = MlflowClient(uri)
    assert client.get_run(logged.run_id).data.params["audit.partly_loaded"] == "part: 19 of 20 tensors"
    assert 0.0 < client.get_run(logged.run_id).data.metrics["own.membership.scan.loss.auc"] < 1.0
    assert client.get_run(logged.run_id).data.tags["audit.membership.own.scan"] == "inconclusive"
    children = client.search_runs([logged.experiment_id], f"tags.`mlflow.parentRunId` = '{logged.run_id}'")
    shown = {(run.data.params["audit.target"], run.data.params["audit.tensors_matched"]) for run in children}
    assert shown == {("part", "19 of 20"), ("own", "6 of 6")}
