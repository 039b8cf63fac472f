import dataclasses
import hashlib
import hmac
import json
import stat
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import ConfigError, StorageError, TrainingError
from flprivacy.core.parsing import from_mapping
from flprivacy.core.target import TargetRecord
from flprivacy.core.vocabulary import TOPOLOGIES
from flprivacy.models.initialisation import weights_seed
from flprivacy.models.registry import TargetModel, build
from flprivacy.models.weights import weights_digest
from flprivacy.privacy.config import PrivacyConfig
from flprivacy.targets.folder import load_model, read_target, verify_target
from flprivacy.targets.lineage import audited_record, private_part, released_training
from flprivacy.training.config import CanaryConfig, SyntheticConfig, TargetConfig, training_mapping
from flprivacy.training.method import ADAM
from flprivacy.training.pool import scan_pool
from flprivacy.training.train import TRAINERS, run_key, train_target
from flprivacy.training.utility import class_probabilities, measure_utility

FAST = {"architecture": "cnn3d_small", "batch_size": 8, "learning_rate": 0.01}


def train(cohort: Cohort, folder: Path, *, name: str = "tiny", **fields: object) -> TargetRecord:
    config = dataclasses.replace(TargetConfig(topology="central"), **{**FAST, **fields})
    return train_target(name, config, cohort, protocol="standard", work=folder / "work", out=folder / "out")


def audited(folder: Path) -> TargetRecord:
    """Return a target's record with what its private part says."""
    record = read_target(folder)
    return audited_record(record, private_part(folder, record))


def read_json(path: Path) -> dict:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def central(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("central")
    train(cohort, folder, name="central", epochs=8)
    return folder


@pytest.fixture(scope="module")
def siloed(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("siloed")
    train(cohort, folder, name="siloed", topology="siloed", epochs=2)
    return folder


def test_it_learns_to_tell_the_classes_of_new_patients_apart(central: Path) -> None:
    utility = audited(central / "out").utility
    assert utility is not None
    assert utility.n_scans == 18
    assert min(utility.accuracy, utility.f1_macro, utility.auc_ovr or 0.0) > 0.9


def test_the_record_says_how_the_target_came_about(cohort: Cohort, central: Path) -> None:
    record = verify_target(central / "out")
    assert (record.name, record.role, record.topology, record.partition) == ("central", "target", "central", None)
    assert (record.architecture, record.shape, record.n_classes) == ("cnn3d_small", cohort.meta.shape, 2)
    assert record.protocol == "standard"
    assert (record.epsilon, record.delta, record.dp_events, record.synthetic_share) == (None, None, (), 0.0)
    assert record.tensors_matched == record.tensors_total > 0
    lineage = private_part(central / "out", record).lineage
    assert (lineage.target_digest, lineage.cohort_digest) == (record.digest, cohort.meta.digest)
    assert from_mapping(TargetConfig, lineage.training) == TargetConfig(topology="central", epochs=8, **FAST)
    assert record.training == {name: value for name, value in lineage.training.items() if name != "seed"}
    (model,) = record.models
    assert (model.name, model.n_train, model.utility, record.utility) == ("model", 0, None, None)
    known = audited(central / "out")
    assert (known.models[0].n_train, known.models[0].utility) == (22, known.utility)
    assert model.sha256 == hashlib.sha256((central / "out" / model.weights).read_bytes()).hexdigest()
    assert from_mapping(TargetRecord, read_json(central / "out" / "target.json")) == record


def test_the_published_weights_have_the_published_utility(cohort: Cohort, central: Path) -> None:
    record = audited(central / "out")
    model = load_model(central / "out", record, "model").model
    scans = scan_pool(cohort, protocol="standard", split="test")
    assert measure_utility(scans.labels, class_probabilities(model, scans)) == record.utility


def test_members_are_keyed_pseudonyms(cohort: Cohort, central: Path) -> None:
    record = read_target(central / "out")
    part = private_part(central / "out", record)
    scan_ids = cohort.manifest["scan_id"].to_numpy()[cohort.rows("train")]
    hashes = [hashlib.sha256((cohort.meta.digest + s).encode()).hexdigest() for s in scan_ids]
    assert not set(hashes) & set(part.members()["model"])  # whoever tries ids finds nobody
    key = bytes.fromhex(part.lineage.members_key)
    assert len(key) == 32
    expected = sorted(hmac.new(key, h.encode(), "sha256").hexdigest() for h in hashes)
    assert part.members() == {"model": tuple(expected)}


def test_only_its_owner_can_read_the_private_part(central: Path) -> None:
    private = central / "out" / "private"
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in private.iterdir()} == {0o600}


def test_history_has_an_entry_an_epoch(central: Path) -> None:
    (entries,) = read_json(central / "out" / "private" / "history.json").values()
    assert [e["epoch"] for e in entries] == list(range(1, 9))
    assert entries[-1]["loss"] < entries[0]["loss"]


def test_a_siloed_target_holds_a_model_a_site(cohort: Cohort, siloed: Path) -> None:
    record = audited(siloed / "out")
    names = ["site-00", "site-01", "site-02"]
    assert [m.name for m in record.models] == names
    assert [m.n_train for m in record.models] == [13, 6, 3]
    members = private_part(siloed / "out", record).members()
    assert {name: len(m) for name, m in members.items()} == dict(zip(names, (13, 6, 3), strict=True))
    assert max(Counter(h for m in members.values() for h in m).values()) == 1
    assert set(read_json(siloed / "out" / "private" / "history.json")) == set(names)
    accuracy = np.average([m.utility.accuracy for m in record.models], weights=[13, 6, 3])
    assert record.utility is not None
    assert record.utility.accuracy == pytest.approx(accuracy)


def test_a_diverging_training_publishes_nothing(cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="lower learning_rate"):
        train(cohort, tmp_path, epochs=4, learning_rate=1e38)
    assert not (tmp_path / "out").exists()
    assert not [p for p in tmp_path.iterdir() if p.name != "work"]


def test_no_training_scan_at_all(cohort: Cohort, tmp_path: Path) -> None:
    bare = dataclasses.replace(cohort, manifest=cohort.manifest.assign(split="test"))
    with pytest.raises(TrainingError, match="no scan in split 'train'"):
        train(bare, tmp_path)


@pytest.mark.parametrize("topology", ["siloed", "federated"])
def test_a_site_without_training_scans(cohort: Cohort, tmp_path: Path, topology: str) -> None:
    split = np.where(cohort.manifest["site_id"] == 1, "test", cohort.manifest["split"])
    with pytest.raises(TrainingError, match="site 'b' has no training scan"):
        train(dataclasses.replace(cohort, manifest=cohort.manifest.assign(split=split)), tmp_path, topology=topology)
    assert not (tmp_path / "out").exists()


def test_unknown_protocol_and_architecture(cohort: Cohort, tmp_path: Path) -> None:
    config = TargetConfig(topology="central")
    with pytest.raises(ConfigError, match="protocol is 'other'"):
        train_target("t", config, cohort, protocol="other", work=tmp_path, out=tmp_path / "out")
    with pytest.raises(ConfigError, match="resnet"):
        train(cohort, tmp_path, architecture="resnet")


def test_every_topology_of_the_configuration_has_a_trainer() -> None:
    assert set(TRAINERS) == set(TOPOLOGIES)


@pytest.fixture
def train_only(cohort: Cohort) -> Cohort:
    """Without held-out scans nothing is scored, which saves compiling the forward pass."""
    return dataclasses.replace(cohort, manifest=cohort.manifest[cohort.manifest["split"] == "train"])


def test_untrained_holds_independent_fresh_weights(train_only: Cohort, tmp_path: Path) -> None:
    record = train(train_only, tmp_path, topology="untrained", initialisations=3)
    assert (record.role, private_part(tmp_path / "out", record).lineage.cohort_digest) == ("baseline", "")
    assert [m.name for m in record.models] == ["init-0", "init-1", "init-2"]
    assert [m.n_train for m in record.models] == [0, 0, 0]
    assert private_part(tmp_path / "out", record).members() == {"init-0": (), "init-1": (), "init-2": ()}
    fresh = {weights_digest(load_model(tmp_path / "out", record, m.name)) for m in record.models}
    assert len(fresh) == 3
    start = build("cnn3d_small", shape=record.shape, n_classes=2, seed=weights_seed(0, 0, baseline=False))
    assert weights_digest(start) not in fresh  # what a central target of the same seed starts from


def test_without_held_out_scans_utility_is_unknown(train_only: Cohort, tmp_path: Path) -> None:
    record = train(train_only, tmp_path, topology="untrained", initialisations=1)
    assert (record.utility, record.models[0].utility) == (None, None)


def test_the_digest_tells_trainings_of_equal_weights_apart(train_only: Cohort, tmp_path: Path) -> None:
    records = [train(train_only, tmp_path, topology="untrained", initialisations=1, epochs=e) for e in (1, 1, 2)]
    assert records[0].digest == records[1].digest != records[2].digest


def test_a_federated_target_under_the_reference_studys_preprocessing(train_only: Cohort, tmp_path: Path) -> None:
    config = dataclasses.replace(TargetConfig(topology="federated", rounds=2, partition="iid"), **FAST)
    record = train_target(
        "t", config, train_only, protocol="flprivacy-2023", work=tmp_path / "work", out=tmp_path / "out"
    )
    assert (record.role, record.topology, record.partition) == ("target", "federated", "iid")
    assert (record.protocol, record.training) == ("flprivacy-2023", released_training(training_mapping(config)))
    assert [(m.name, m.n_train) for m in audited(tmp_path / "out").models] == [("model", 22)]
    (entries,) = read_json(tmp_path / "out" / "private" / "history.json").values()
    assert [(e["round"], e["clients"]) for e in entries] == [(1, 3), (2, 3)]


def test_a_finished_training_is_published_again_from_its_checkpoints(
    cohort: Cohort, siloed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object, **fields: object) -> None:
        raise AssertionError("trained again")

    first = read_target(siloed / "out")
    monkeypatch.setattr("flprivacy.training.local.Learner.train_epoch", never)
    assert train(cohort, siloed, name="siloed", topology="siloed", epochs=2) == first


def test_checkpoints_are_kept_apart_by_all_that_the_weights_depend_on(cohort: Cohort) -> None:
    config = TargetConfig(topology="central")
    other_cohort = dataclasses.replace(cohort, meta=dataclasses.replace(cohort.meta, digest="f" * 64))
    changed = [dataclasses.replace(config, **{f: v}) for f, v in CHANGES.items()]
    keys = [run_key(c, cohort, protocol="standard", method=ADAM) for c in (config, *changed)]
    keys += [
        run_key(config, other_cohort, protocol="standard", method=ADAM),
        run_key(config, cohort, protocol="flprivacy-2023", method=ADAM),
        run_key(config, cohort, protocol="standard", method=dataclasses.replace(ADAM, name="dp-sgd")),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == run_key(TargetConfig(topology="central"), cohort, protocol="standard", method=ADAM)


CHANGES = {
    "topology": "siloed",
    "architecture": "cnn3d",
    "epochs": 11,
    "rounds": 11,
    "local_epochs": 2,
    "client_fraction": 0.5,
    "partition": "iid",
    "batch_size": 17,
    "learning_rate": 0.1,
    "augment": False,
    "initialisations": 6,
    "seed": 1,
    "privacy": PrivacyConfig(adjacency="zero-out", noise_multiplier=1.0, optimizer="sgd"),
    "canaries": CanaryConfig(kind="mislabelled"),
    "synthetic": SyntheticConfig(),
}
ELSEWHERE = {"weights"}  # of baselines that are not trained here


def test_every_field_of_the_configuration_was_changed() -> None:
    assert set(CHANGES) | ELSEWHERE == {f.name for f in dataclasses.fields(TargetConfig)}


def test_a_failed_publication_leaves_nothing(
    train_only: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(target: TargetModel, path: Path) -> None:
        path.write_bytes(b"half")
        raise StorageError("disk full")

    monkeypatch.setattr("flprivacy.training.publication.save_weights", full)
    with pytest.raises(StorageError):
        train(train_only, tmp_path, topology="untrained", initialisations=1)
    assert not list(tmp_path.iterdir())


def test_trained_topologies_share_their_start_and_baselines_do_not() -> None:
    seeds = {weights_seed(s, m, baseline=b) for s in range(3) for m in range(5) for b in (False, True)}
    assert len(seeds) == 30
    assert all(0 <= s < 2**31 for s in seeds)
