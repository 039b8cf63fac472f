"""The report in the store: as many processes draw as there are cores, and what they draw does not depend on it."""

from pathlib import Path

import pytest

from flprivacy.core.artifacts import AUDIT_FILE
from flprivacy.core.audit import Audit
from flprivacy.reporting import stored


def _report(audit: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *, cores: int) -> dict[str, bytes]:
    monkeypatch.setattr(stored, "available_cores", lambda: cores)
    stored.deliver_report(audit, folder / "report", store=str(folder / "store"))
    files = [path for path in (folder / "report").rglob("*") if path.is_file()]
    return {str(path.relative_to(folder / "report")): path.read_bytes() for path in files}


def test_one_core_and_several_write_the_same_report(
    small_audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "audit").mkdir()
    small_audit.write(tmp_path / "audit" / AUDIT_FILE)
    alone, shared = (_report(tmp_path / "audit", tmp_path / str(cores), monkeypatch, cores=cores) for cores in (1, 3))
    figures = {name for name in alone if name.startswith("figures/")}
    assert len(figures) >= 3
    assert {name: alone[name] == shared.get(name) for name in alone | shared} == dict.fromkeys(alone, True)
