"""A missing extra is named in one line, wherever its library is first needed."""

import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from flprivacy.cli import main
from flprivacy.core import extras
from flprivacy.core.extras import MissingExtraError, naming_extras, require_extras

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def test_a_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtraError, match=r"'storage': pip install 'flprivacy\[storage\]'"), naming_extras():
        import boto3  # noqa: F401
    with pytest.raises(ModuleNotFoundError, match="nowhere"), naming_extras():
        import nowhere  # noqa: F401


def test_what_is_there_is_not_missed() -> None:
    require_extras("train", "onnx", "storage", "tracking", "cluster", "imaging", "report")


@pytest.mark.parametrize("missing", [("kfp",), ("kfp", "mlflow")])
def test_run_says_what_it_lacks_before_it_starts(
    missing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLPRIVACY_HOME", str(tmp_path))
    for module in missing:
        monkeypatch.setitem(sys.modules, module, None)
    done = CliRunner().invoke(main, ["run", "study"])
    assert done.exit_code == 2
    named = "'cluster'" if len(missing) == 1 else "'cluster', 'tracking'"
    assert done.output.count("\n") == 1
    assert named in done.output
    assert list(tmp_path.iterdir()) == []


def test_every_extra_is_one_of_the_package_and_all_holds_each() -> None:
    declared = PROJECT["optional-dependencies"]
    assert set(extras._LIBRARIES) <= set(declared)
    assert declared["all"] == [f"flprivacy[{','.join(extras._LIBRARIES)}]"]
