"""The newest published folder of each name, by the number, version or date that it is called."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from flprivacy.core.errors import ConfigError, TargetError, TrackingError
from flprivacy.targets.listing import latest_targets, newest_folders


def _publish(root: Path, *folders: str) -> str:
    for folder in folders:
        (root / folder).mkdir(parents=True)
        (root / folder / "target.json").write_text("{}")
        (root / folder / "model.weights.h5").write_bytes(b"w")
    return str(root)


def _folders(root: Path, found: dict[str, str]) -> dict[str, str]:
    return {name: str(Path(there).relative_to(root)) for name, there in found.items()}


@pytest.mark.parametrize(
    ("folders", "newest"),
    [
        (("a/1", "a/2", "a/10"), {"a": "a/10"}),
        (("a/v1.9", "a/v1.10"), {"a": "a/v1.10"}),
        (("a/2026-11-10", "a/2026-11-17", "b/2026-11-03"), {"a": "a/2026-11-17", "b": "b/2026-11-03"}),
        (("a/20261110T0300Z", "a/20261110T1200Z"), {"a": "a/20261110T1200Z"}),
        (("a/run-2", "a/run-10"), {"a": "a/run-10"}),
        (
            ("chest/central/3", "chest/federated/2"),
            {"chest-central": "chest/central/3", "chest-federated": "chest/federated/2"},
        ),
        (("model1", "model2"), {"model1": "model1", "model2": "model2"}),
        (("Central Model/1",), {"central-model": "Central Model/1"}),
    ],
)
def test_the_largest_numbers_are_the_newest(tmp_path: Path, folders: tuple[str, ...], newest: dict[str, str]) -> None:
    assert _folders(tmp_path, newest_folders(_publish(tmp_path, *folders))) == newest


def test_versions_right_below_the_prefix_are_named_after_it(tmp_path: Path) -> None:
    root = tmp_path / "central"
    assert newest_folders(_publish(root, "1", "2")) == {"central": str(root / "2")}


def test_a_target_without_versions_is_its_own_latest(tmp_path: Path) -> None:
    root = tmp_path / "central"
    root.mkdir()
    (root / "target.json").write_text("{}")
    assert newest_folders(str(root)) == {"central": str(root)}


def test_a_folder_without_its_record_is_not_published_yet(tmp_path: Path) -> None:
    root = _publish(tmp_path, "a/1")
    (tmp_path / "a" / "2").mkdir()
    (tmp_path / "a" / "2" / "model.weights.h5").write_bytes(b"half")
    assert _folders(tmp_path, newest_folders(root)) == {"a": "a/1"}


def test_doubt_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="equally new folders of target 'a'"):
        newest_folders(_publish(tmp_path / "twins", "a/1", "a/v1"))
    with pytest.raises(TargetError, match="publish a target there first"):
        newest_folders(str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match="names any target"):
        latest_targets([], {})
    root = _publish(tmp_path / "p", "a/1")
    with pytest.raises(ConfigError, match="target 'a' is at"):
        latest_targets([root], {"a": "elsewhere"})
    with pytest.raises(ConfigError, match="takes no facts"):
        latest_targets([f"{root},architecture=i3d"], {})


def test_an_alias_of_the_registry_is_pinned_to_the_version_that_it_names_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'm.db'}")
    client = MlflowClient()
    client.create_registered_model("Chest-CT")
    for _ in range(2):
        client.create_model_version("Chest-CT", source=tmp_path.as_uri())
    client.set_registered_model_alias("Chest-CT", "production", "1")
    words = ["models:/Chest-CT@production,architecture=i3d,shape=24x64x64"]
    assert latest_targets(words, {}) == {"chest-ct": "models:/Chest-CT/1,architecture=i3d,shape=24x64x64"}
    client.set_registered_model_alias("Chest-CT", "production", "2")
    assert latest_targets(words, {}) == {"chest-ct": "models:/Chest-CT/2,architecture=i3d,shape=24x64x64"}
    assert latest_targets([], {"fixed": "models:/Chest-CT@production"}) == {"fixed": "models:/Chest-CT/2"}
    with pytest.raises(TrackingError, match="models:/Chest-CT@nobody"):
        latest_targets(["models:/Chest-CT@nobody"], {})
