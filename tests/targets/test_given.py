"""Targets in foreign files: from this machine, a server or MLflow; imported once, and again only when they changed."""

from pathlib import Path

import keras
import mlflow
import pytest
from keras import layers
from mlflow import MlflowClient

from flprivacy.core.errors import ConfigError, FlprivacyError, StorageError, TargetError, TrackingError
from flprivacy.core.target import TARGET_FILE, TargetRecord
from flprivacy.core.target_source import parse_source
from flprivacy.launch.parameters import target_source
from flprivacy.models.registry import build
from flprivacy.presets import load_preset
from flprivacy.storage.objects import open_objects
from flprivacy.study.given_targets import plan_given
from flprivacy.targets import importing
from flprivacy.targets.folder import read_target, verify_target
from flprivacy.targets.given import bring_target, describe_match, given_record, given_target
from flprivacy.targets.show import show_target
from tests.services.scripted_s3 import ScriptedS3
from tests.steps.source_examples import serve

SHAPE = (4, 16, 20)


def record_of(word: str) -> TargetRecord:
    return given_record(parse_source(word))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of ours as Keras saves it, and one that is none of ours."""
    folder = tmp_path_factory.mktemp("files")
    target = build("cnn3d_small", shape=SHAPE, n_classes=3, seed=7)
    target.model.save(folder / "known.h5")
    target.model.save_weights(folder / "known.weights.h5")
    scan = keras.Input((*SHAPE, 1))
    x = layers.Dense(5, name="embedding")(layers.GlobalAveragePooling3D()(layers.Conv3D(3, 2)(scan)))
    keras.Model(scan, layers.Dense(2, activation="softmax")(x)).save(folder / "own.keras")
    return folder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLPRIVACY_HOME", str(tmp_path / "home"))


def _never(*args: object, **kwargs: object) -> None:
    pytest.fail("imported again")


def test_a_file_is_imported_once(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bring_target(parse_source(f"{files}/known.h5"), "", name="mine", out=tmp_path / "a")
    record = read_target(tmp_path / "a")
    assert (record.name, record.architecture, record.tensors_matched) == ("mine", "cnn3d_small", 20)
    assert verify_target(tmp_path / "a") == record
    assert describe_match(record).startswith("20 of 20 tensors of the cnn3d_small trunk matched, 0 missing, 0 left")
    monkeypatch.setattr(importing, "import_checkpoint", _never)
    bring_target(parse_source(f"file://{files}/known.h5"), "", name="x", out=tmp_path / "b")
    again = read_target(tmp_path / "b")
    assert (again.name, again.digest) == ("x", record.digest)


def test_facts_and_files_that_do_not_fit(files: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / TARGET_FILE).touch()
    for word, error, match in (
        (f"{files}/known.weights.h5", TargetError, "known.weights.h5: does not tell which scans it takes"),
        (f"{files}/known.h5,architecture=cnn3d", TargetError, "known.h5: 0 of 29 tensors of the cnn3d trunk match"),
        (f"{files}/own.keras", TargetError, "own.keras: names the layers of no architecture of ours"),
        (f"{files}/own.keras,feature_layer=x", TargetError, "own.keras: has no layer 'x'"),
        (f"{files}/none.h5", TargetError, "none.h5: no such file"),
        (f"{tmp_path}/folder,shape=1x1x1", ConfigError, "is a target folder, whose target.json says shape"),
        (f"{tmp_path},shape=1x1x1", TargetError, "holds no target.json, and is no file"),
        (f"{tmp_path}/none", TargetError, "no such file; give the folder of a target"),
    ):
        with pytest.raises(error, match=match) as caught:
            record_of(word)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("home/store/target/*"))


def test_a_file_on_a_server_moves_once(scripted: ScriptedS3, files: Path, tmp_path: Path) -> None:
    serve(scripted, files, prefix="models")
    uri = "s3://bucket/models/own.keras,feature_layer=embedding"
    bring_target(parse_source(uri), "", name="mine", out=tmp_path / "a")
    record = read_target(tmp_path / "a")
    assert (record.architecture, record.origin and record.origin.feature_layer) == ("custom", "embedding")
    assert set(scripted.sent) == {"models/own.keras"}
    scripted.sent.clear()
    assert record_of(uri).digest == record.digest
    assert not scripted.sent
    scripted.objects["bucket"]["models/own.keras"] = b"PK not a model"
    with pytest.raises(TargetError, match=r"^s3://bucket/models/own.keras: not a .keras archive") as caught:
        record_of(uri)
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(StorageError, match=r"none\.h5: no such object"):
        record_of("s3://bucket/models/none.h5")


def test_a_file_on_google_cloud_storage(gcs: str, files: Path) -> None:
    open_objects(gcs).upload(files / "known.h5", f"{gcs}/known.h5")
    assert record_of(f"{gcs}/known.h5").digest == record_of(f"{files}/known.h5").digest


def test_partial_files_say_so(files: Path, tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "part.h5"
    path.write_bytes((files / "known.h5").read_bytes())
    with h5py.File(path, "a") as file:
        trunk = file["model_weights/trunk"]
        trunk.attrs["weight_names"] = [n for n in trunk.attrs["weight_names"] if n != "stem_conv/bias"]
        del trunk["stem_conv/bias"]
    with pytest.raises(TargetError, match=r"19 of 20 .* missing 'stem_conv/bias'; .* allow_partial=true"):
        record_of(str(path))
    record = record_of(f"{path},allow_partial=true")
    assert (record.tensors_matched, record.tensors_total) == (19, 20)


def test_what_a_file_holds(files: Path) -> None:
    found = show_target(parse_source(f"{files}/known.h5"))
    assert (found["format"], found["architecture"], found["shape"]) == (
        "legacy HDF5, whole model",
        "cnn3d_small",
        [4, 16, 20],
    )
    assert (found["tensors_matched"], found["missing"], found["left_over"]) == (20, [], [])
    own = show_target(parse_source(f"{files}/own.keras"))
    assert (own["architecture"], own["networks"]) == ("", {"(whole)": "3 layers with weights, 6 tensors"})


def test_yaml_says_what_the_file_does_not(files: Path, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("location: sub/own.keras\nfeature_layer: embedding\nn_train: 12\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "own.keras").write_bytes((files / "own.keras").read_bytes())
    source = target_source(str(tmp_path / "t.yaml"))
    assert source.location == str(tmp_path / "sub" / "own.keras")
    assert record_of(str(source)).models[0].n_train == 12
    for word, match in (
        (f"{tmp_path}/t.yaml,classes=2", "write classes into this file"),
        ("none.yml", "cannot be read"),
    ):
        with pytest.raises(ConfigError, match=match):
            target_source(word)


def test_plans_hold_fresh_weights_of_every_network_and_pretrained_ones(files: Path, tmp_path: Path) -> None:
    preset = tmp_path / "p.yaml"
    preset.write_text(
        "targets:\n  untrained: {topology: untrained, initialisations: 2}\n"
        f"  initial: {{topology: pretrained, weights: {files}/known.h5}}\n"
        f"  other: {{topology: pretrained, architecture: i3d, weights: {files}/known.h5}}\n"
    )
    targets = {"a": f"{files}/known.h5", "B": f"{files}/own.keras,feature_layer=embedding"}
    base = load_preset(str(preset), {}).study
    run = plan_given(base, preset=str(preset), overrides={}, cohort="c", sources=targets)
    configs = run.study.targets
    assert sorted(configs) == ["initial", "untrained-b", "untrained-cnn3d_small"]
    assert (configs["untrained-b"].architecture, configs["untrained-b"].weights) == ("custom", targets["B"])


@pytest.fixture(scope="module")
def server(files: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A local MLflow on SQLite: a registered Keras model with an alias, and a run with files of several kinds."""
    folder = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = MlflowClient(uri)
    experiment = client.create_experiment("models", artifact_location=(folder / "artifacts").as_uri())
    mlflow.set_tracking_uri(uri)
    try:
        with mlflow.start_run(experiment_id=experiment) as run:
            model = keras.saving.load_model(files / "own.keras")
            mlflow.keras.log_model(model, name="model", registered_model_name="chest", pip_requirements=["keras"])
            client.log_artifact(run.info.run_id, str(files / "known.h5"), "weights")
            (folder / "model.pkl").write_bytes(b"cos\nsystem\n(S'exit'\ntR.")
            client.log_artifact(run.info.run_id, str(folder / "model.pkl"), "code")
            made = given_target(parse_source(f"{files}/known.h5"), str(folder / "store"))
            client.log_artifacts(run.info.run_id, str(made), "target")
    finally:
        mlflow.set_tracking_uri(None)
    client.set_registered_model_alias("chest", "live", "1")
    return {"uri": uri, "run": run.info.run_id}


@pytest.fixture
def tracked(server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server["uri"])
    return server["run"]


@pytest.mark.parametrize("name", ["chest@live", "chest/1"])
def test_a_registered_model_is_fetched_once(
    tracked: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    word = f"models:/{name},feature_layer=embedding"
    bring_target(parse_source(word), "", name="mine", out=tmp_path / "a")
    record = read_target(tmp_path / "a")
    assert (record.name, record.architecture) == ("mine", "custom")
    assert verify_target(tmp_path / "a") == record
    monkeypatch.setattr("flprivacy.tracking.history.fetch_artifacts", _never)
    assert record_of(word).digest == record.digest


def test_an_alias_that_moved_is_another_model(tracked: str, server: dict[str, str], files: Path) -> None:
    client = MlflowClient(server["uri"])
    first = record_of("models:/chest@live,feature_layer=embedding")
    source = f"runs:/{tracked}/weights"
    version = client.create_model_version("chest", source, tracked)
    client.set_registered_model_alias("chest", "live", version.version)
    try:
        assert record_of("models:/chest@live").architecture == "cnn3d_small"
    finally:
        client.set_registered_model_alias("chest", "live", "1")
    assert record_of("models:/chest@live,feature_layer=embedding").digest == first.digest


@pytest.mark.parametrize("path", ["weights/known.h5", "weights", "target"])
def test_files_of_a_run(tracked: str, path: str) -> None:
    record = record_of(f"runs:/{tracked}/{path}")
    assert (record.architecture, record.tensors_matched, record.tensors_total) == ("cnn3d_small", 20, 20)


def test_what_mlflow_lacks(tracked: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cases: list[tuple[str, type[FlprivacyError], str]] = [
        ("models:/chest@gone", TrackingError, "alias gone"),
        ("models:/nobody/1", TrackingError, "nobody.*; check the name, what you may do there, and MLFLOW_TRACKING_URI"),
        (f"runs:/{tracked}/nothing", TrackingError, "MLflow cannot be reached or refuses|cannot be reached"),
        (
            f"runs:/{tracked}/code",
            TargetError,
            r"holds 0 weights files \(none\); log one model as .keras, .h5 or .onnx",
        ),
        (f"runs:/{tracked}/target,shape=4x16x20", ConfigError, "target folder"),
    ]
    for word, error, match in cases:
        with pytest.raises(error, match=match) as caught:
            record_of(word)
        assert "\n" not in str(caught.value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(TrackingError, match="no MLflow server is given"):
        record_of("models:/chest@live")


@pytest.mark.parametrize("facts", ["", ",feature_layer=embedding"])
def test_what_is_not_read_says_what_is(scripted: ScriptedS3, tmp_path: Path, facts: str) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"\x08\x01")
    serve(scripted, tmp_path / "saved", prefix="saved")
    for place in (f"{tmp_path}/saved", "s3://bucket/saved"):
        with pytest.raises(TargetError, match=r"SavedModel, which is code and is not read; .* as \.keras with Keras 3"):
            record_of(f"{place}{facts}")
    with pytest.raises(
        TargetError, match=r"model\.pt: target folders and files \(\.keras, .*\) are read; .* torch\.onnx\.export"
    ):
        record_of(f"{tmp_path}/model.pt{facts}")


def test_a_mistyped_file_is_not_taken_for_a_target_folder(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"m\.kers: holds no target\.json, and is no file; .*: check the path"):
        record_of(f"{tmp_path}/m.kers,feature_layer=embedding")
