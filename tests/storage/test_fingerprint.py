"""The fingerprint names the libraries that change numbers, whatever way their packages spell their names."""

import importlib.metadata

import numpy as np
import pytest

from flprivacy.storage import fingerprint as module
from flprivacy.storage.fingerprint import fingerprint, library_versions


def test_the_versions_are_those_that_run() -> None:
    found = library_versions()
    assert found["numpy"] == np.__version__
    assert {"tensorflow", "tensorflow-cpu"} & set(found)
    assert list(found) == sorted(found)


def test_another_version_of_a_library_is_another_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = ("core",)
    before = fingerprint.__wrapped__(parts)
    assert fingerprint.__wrapped__(parts) == before
    real = importlib.metadata.version
    monkeypatch.setattr(
        module.importlib.metadata, "version", lambda name: "9" if name.startswith("tensorflow") else real(name)
    )
    assert fingerprint.__wrapped__(parts) != before
