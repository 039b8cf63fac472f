"""Settings and credentials from files, as Kubernetes mounts ConfigMaps and Secrets."""

import os
from pathlib import Path

import pytest

from flprivacy.execution.run_step import read_mounted


def test_a_file_is_a_variable_and_what_is_set_already_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are links into a folder that Kubernetes replaces as a whole."""
    monkeypatch.setattr(os, "environ", {"AWS_REGION": "from the pod"})
    data = tmp_path / "settings" / "..2026_11_30"
    data.mkdir(parents=True)
    for name, text in (("FLPRIVACY_STORE", "s3://b/store\n"), ("AWS_REGION", "eu"), ("README", ""), ("a.txt", "x")):
        (data / name).write_text(text)
        (tmp_path / "settings" / name).symlink_to(data / name)
    (tmp_path / "settings" / "..data").symlink_to(data)
    read_mounted(tmp_path)
    assert os.environ == {"AWS_REGION": "from the pod", "FLPRIVACY_STORE": "s3://b/store", "README": ""}
    read_mounted(tmp_path / "absent")
