"""Five faults that make any network look harmless, planted in every format: each is refused or named, none is cleared.

A network that is mute, one that overflows, one that sees other values than in training, one to which scans lie in
another way, and answers in another order of scans; beside them the same network and answers as they should be, which
are cleared. All baselines are lost, which saves time.
"""

import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from keras import layers

from flprivacy.cohorts.format import open_cohort, read_volumes
from flprivacy.cohorts.phantom.config import PhantomConfig
from flprivacy.cohorts.phantom.generate import phantom_cohort
from flprivacy.core.audit import NO_LEAK, Audit, TargetFailure
from flprivacy.core.parsing import to_mapping
from flprivacy.core.parts import WITHOUT_MODEL, names_of
from flprivacy.core.target_source import parse_source
from flprivacy.execution.isolation import FAILURE_FILE, run_target_step
from flprivacy.models.registry import build
from flprivacy.reporting.sentences import overall
from flprivacy.steps.attack_target import attack_target
from flprivacy.steps.evaluate import evaluate
from flprivacy.steps.plan_audit import plan_audit
from flprivacy.targets.importing import import_checkpoint
from tests.onnx_networks import of_keras

SHAPE = (8, 32, 40)
CUBE = (8, 8, 8)
_PRESET = """
targets: {untrained: {topology: untrained, initialisations: 2}}
attack: {fractions: [0.3], seeds: [0, 1], attributes: [site], accesses: [features], epochs: 2}
audit: {bootstrap: 100, policy: {rules: {site: {threshold: 0.95}}}}
"""


def _own(kernel: float, shape: tuple[int, int, int] = SHAPE) -> keras.Model:
    """A network of brightness in bytes; mute with kernel 0, and overflowing with one of 1e36."""
    keras.utils.set_random_seed(3)
    scan = keras.Input((*shape, 1))
    x = layers.Conv3D(8, 3, strides=2, activation="relu")(scan)
    x = layers.GlobalAveragePooling3D(name="features")(x)
    network = keras.Model(scan, layers.Dense(3, activation="softmax")(x))
    drawn, _ = network.layers[1].get_weights()
    network.layers[1].set_weights([drawn * kernel, np.linspace(-60, 60, 8)])
    return network


def _ours(kernel: float) -> keras.Model:
    """One of our architectures: mute if its last maps are, or overflowing from its first."""
    network = build("cnn3d_small", shape=SHAPE, n_classes=3, seed=3)
    for weight in network.trunk.weights:
        if kernel == 0.0 and "block3" in weight.path and weight.path.endswith(("gamma", "beta")):
            weight.assign(np.zeros(weight.shape))
        if kernel > 1.0 and weight.path.endswith("stem_conv/kernel"):
            weight.assign(np.full(weight.shape, kernel))
    whole: keras.Model = network.model
    return whole


def _networks(root: Path) -> dict[str, str]:
    """Write the networks of every fault in every format; the range is stated, and wrong."""
    found = {}
    for fault, kernel in (("constant", 0.0), ("infinite", 1e37), ("range", 1.0)):
        own = _own(kernel)
        own.save(root / f"{fault}.keras")
        (root / f"{fault}.onnx").write_bytes(of_keras(own).SerializeToString())
        _ours(kernel).save(root / f"{fault}.h5")
        found[f"{fault}-keras"] = f"{root}/{fault}.keras,feature_layer=features,input_range=0..1"
        found[f"{fault}-onnx"] = f"{root}/{fault}.onnx,input_range=0..1"
        found[f"{fault}-h5"] = f"{root}/{fault}.h5,input_range=0..1"
        if fault != "infinite":  # which no target folder is made of
            place = root / f"{fault}-folder"
            import_checkpoint(parse_source(found[f"{fault}-keras"]), root / f"{fault}.keras", name=fault, out=place)
            found[f"{fault}-folder"] = str(place)
        own.export(root / f"{fault}-saved", verbose=False)  # a SavedModel
        found[f"{fault}-saved"] = f"{root}/{fault}-saved"
    _own(1.0, CUBE).save(root / "cube.keras")
    (root / "cube.onnx").write_bytes(of_keras(_own(1.0, CUBE)).SerializeToString())
    told = "axes={},input_range=0..255"
    found["axes-keras"] = f"{root}/cube.keras,feature_layer=features,{told.format('hwd')}"
    found["axes-onnx"] = f"{root}/cube.onnx,{told.format('hwdc')}"
    found["sound-keras"] = f"{root}/range.keras,feature_layer=features,input_range=0..255,own_answers={root}/own.npz"
    found["sound-onnx"] = f"{root}/range.onnx,input_range=0..255,own_answers={root}/own.npz"
    found["other-onnx"] = f"{root}/range.onnx,input_range=0..1,own_answers={root}/own.npz"
    return found


def _answers(root: Path, cohort: Path) -> dict[str, str]:
    """Write what the network says of every scan, with every fault, in both formats."""
    opened = open_cohort(cohort)
    ids = opened.manifest["scan_id"].to_numpy().astype(str)
    scans = read_volumes(opened, np.arange(len(ids)))[..., None].astype(np.float32)
    network = _own(1.0)
    features = np.asarray(keras.Model(network.input, network.get_layer("features").output)(scans))
    unit = np.asarray(keras.Model(network.input, network.get_layer("features").output)(scans / 255))
    np.savez(root / "own.npz", scan_ids=ids, features=features)
    faulty = {
        "constant": np.ones_like(features),
        "infinite": np.where(np.arange(len(ids))[:, None] == 5, np.nan, features),
        "order": features[np.random.default_rng(4).permutation(len(ids))],
        "range": unit,
        "sound": features,
    }
    found = {}
    for fault, values in faulty.items():
        np.savez(root / f"{fault}.npz", scan_ids=ids, features=values)
        pq.write_table(pa.table({"scan_id": ids, "features": values.tolist()}), root / f"{fault}.parquet")
        found |= {f"{fault}-{kind}": f"{root}/{fault}.{kind}" for kind in ("npz", "parquet")}
    found["sound-parquet"] += ",input_checked=true"
    import_checkpoint(parse_source(found["order-npz"]), root / "order.npz", name="order", out=root / "order-folder")
    return found | {"order-folder": str(root / "order-folder")}


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    root = tmp_path_factory.mktemp("planted")
    store, plan, cohort = str(root / "store"), root / "plan.json", root / "cohort"
    (root / "preset.yaml").write_text(_PRESET)
    phantom_cohort(PhantomConfig(name="planted", scans=72, sites=2, shape=SHAPE, seed=7), cohort)
    targets = _answers(root, cohort) | _networks(root) | {"lost-keras": f"{root}/lost.keras,feature_layer=features"}
    planned = plan_audit(
        preset=str(root / "preset.yaml"), overrides={}, cohort=str(cohort), targets=targets, plan=plan, store=store,
        scans=root / "scans",
    )  # fmt: skip
    scores: dict[str, Path] = {}
    for name in targets:
        scores[name] = root / "scores" / name
        _step(attack_target, plan=plan, cohort=cohort, target_name=name, store=store, scores=scores[name])
    attacked = {name for part in planned.parameters["Output"] for name in names_of(part)}
    for name in attacked - set(scores) - {WITHOUT_MODEL}:
        scores[name] = root / "scores" / name
        lost = TargetFailure(target=name, step="attack_target", reason="lost", transient=False)
        scores[name].mkdir()
        (scores[name] / FAILURE_FILE).write_text(json.dumps(to_mapping(lost)))
    none = root / "none"
    attack_target(plan=plan, cohort=cohort, target_name=WITHOUT_MODEL, store=store, scores=none)
    evaluate(plan=plan, cohort=cohort, target_scores=(*scores.values(), none), store=store, audit=root / "audit")
    return Audit.read(root / "audit" / "audit.json")


def _step(step: Callable[..., None], **arguments: object) -> None:
    run_target_step(step, arguments, [Path(str(arguments["scores"]))])


def _cleared(audit: Audit) -> set[str]:
    verdicts = [(one.attack.target, one.verdict) for one in audit.verdicts]
    verdicts += [(one.target, one.verdict) for one in audit.membership]
    return {target for target, verdict in verdicts if verdict == NO_LEAK}


def test_no_fault_is_cleared_in_any_format(audit: Audit) -> None:
    assert _cleared(audit) == {"sound-keras", "sound-onnx", "sound-parquet"}


def test_what_says_nothing_of_the_scans_is_refused_by_name(audit: Audit) -> None:
    refused = {one.target: one.reason for one in audit.failures if one.role == "target"}
    networks, arrays = ("keras", "onnx", "h5"), ("npz", "parquet")
    for kind in (*networks, "folder", *arrays):
        assert "features are the same for every scan" in refused.pop(f"constant-{kind}")
    for kind in (*networks, *arrays):
        said = refused.pop(f"infinite-{kind}")
        assert "not finite" in said or "finite numbers" in said or "no number" in said
    for kind in ("folder", *arrays):
        assert "features have nothing to do with what the scans look like" in refused.pop(f"order-{kind}")
    for fault in ("constant", "infinite", "range"):
        assert "is a TensorFlow SavedModel, which is code and is not read" in refused.pop(f"{fault}-saved")
    assert "no such file" in refused.pop("lost-keras")
    assert refused == {}


def test_other_values_than_in_training_are_named_in_the_first_line(audit: Audit) -> None:
    doubts = {one.name: one.doubt for one in audit.targets if one.doubt}
    assert "sound-keras" not in doubts
    for kind in ("keras", "onnx", "h5", "folder"):
        assert "that it takes 0..1 is its owner's word alone" in doubts.pop(f"range-{kind}")
    for name in ("range-npz", "range-parquet", "sound-npz"):
        assert "arrays do not tell what values the network was shown" in doubts[name]
    for kind in ("keras", "onnx"):
        assert "axes=hwd" in doubts[f"axes-{kind}"]
        assert "is its owner's word alone" in doubts[f"axes-{kind}"]
    assert doubts["other-onnx"].endswith("as 0..255: state input_range=0..255")
    first = overall(audit)
    assert all(name in first for name in doubts)
    assert "Not confirmed: what sound-parquet was shown rests on the owner's word" in first
