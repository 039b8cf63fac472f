"""One network as a Keras file and as its export in ONNX, each against fresh weights of its own: the same verdicts."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from attack_examples import SHAPE, written_cohort

from flprivacy.attacks.attribute import attack_attributes
from flprivacy.attacks.baselines import majority
from flprivacy.attacks.config import AttackConfig
from flprivacy.auditing.attributes import audit_attributes
from flprivacy.auditing.config import AuditConfig, Policy, PolicyRule
from flprivacy.cohorts.format import read_volumes
from flprivacy.core.audit import Verdict
from flprivacy.core.cohort import Cohort
from flprivacy.core.parsing import to_mapping
from flprivacy.core.publish import write_json
from flprivacy.core.target_source import TargetSource
from flprivacy.models.foreign.custom import load_custom
from flprivacy.models.registry import build
from flprivacy.targets.folder import read_target
from flprivacy.targets.importing import fresh_target, import_checkpoint
from tests.onnx_networks import of_keras

CONFIG = AttackConfig(fractions=(0.5,), seeds=(0, 1), attributes=("site", "sex"), accesses=("features",), members=False)
AUDIT = AuditConfig(bootstrap=100, policy=Policy(rules={"site": PolicyRule(threshold=5.0), "sex": PolicyRule()}))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return written_cohort(tmp_path_factory.mktemp("cohort") / "tiny")


def _trained(cohort: Cohort, path: Path) -> None:
    """A network that learnt the sex by heart."""
    model = build("cnn3d_small", shape=SHAPE, n_classes=2, seed=5).model
    scans = read_volumes(cohort, np.arange(len(cohort.manifest)))[..., None].astype(np.float32) / 255.0
    model.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy")
    model.fit(
        scans, (cohort.manifest["sex"] == "F").to_numpy().astype(int), epochs=4, batch_size=16, shuffle=False, verbose=0
    )
    model.save(path)


def _targets(root: Path) -> dict[str, tuple[Path, Path]]:
    """Import both formats of a network, and have fresh weights drawn of each."""
    network = load_custom(root / "m.keras", "trunk/features", input_range="0..1").network
    (root / "m.onnx").write_bytes(of_keras(network).SerializeToString())
    found = {}
    for name, layer in {"keras": "trunk/features", "onnx": "features"}.items():
        source = TargetSource(location=str(root / f"m.{name}"), feature_layer=layer, input_range="0..1")
        import_checkpoint(source, root / f"m.{name}", name=name, out=root / name)
        fresh_target(root / name, initialisations=2, seed=1, protocol="standard", out=root / f"fresh-{name}")
        record = replace(read_target(root / f"fresh-{name}"), name=f"fresh-{name}")
        write_json(root / f"fresh-{name}" / "target.json", to_mapping(record))
        found[name] = (root / name, root / f"fresh-{name}")
    return found


def test_a_keras_file_and_its_export_get_the_same_verdicts(cohort: Cohort, tmp_path: Path) -> None:
    _trained(cohort, tmp_path / "m.keras")
    found: dict[str, list[Verdict]] = {}
    for name, folders in _targets(tmp_path).items():
        attacked = [
            attack_attributes(CONFIG, cohort, folder, protocol="standard", work=tmp_path / f"{name}-{i}")
            for i, folder in enumerate(folders)
        ]
        tables = [*(table for table, _ in attacked), majority(CONFIG, cohort)]
        found[name] = list(
            audit_attributes(tables, pd.concat([curves for _, curves in attacked]), config=AUDIT).verdicts
        )
    assert len(found["keras"]) == 2
    assert len({one.verdict for one in found["keras"]}) == 2
    for mine, theirs in zip(found["keras"], found["onnx"], strict=True):
        assert mine.verdict == theirs.verdict
        assert (mine.value, mine.excess) == pytest.approx((theirs.value, theirs.excess), abs=0.02)
