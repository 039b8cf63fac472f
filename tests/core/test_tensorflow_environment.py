"""TensorFlow's settings: the same at every entry, the caller's where given, and part of the keys that need them."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import flprivacy
from flprivacy.core import tensorflow_environment as environment
from flprivacy.storage.artifact_store import Store

PACKAGE = Path(flprivacy.__file__).parent


def _modules_that_import(*libraries: str) -> list[Path]:
    found = []
    for path in PACKAGE.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
        if {name.split(".")[0] for name in names} & set(libraries):
            found.append(path)
    return found


def test_every_package_that_imports_keras_prepares_it_first() -> None:
    importing = _modules_that_import("keras", "tensorflow", "jax")
    packages = {path.relative_to(PACKAGE).parts[0] for path in importing}
    assert len(importing) > 10
    for package in packages:
        assert "\nprepare_tensorflow()\n" in (PACKAGE / package / "__init__.py").read_text(), package


def _settings_after_import(**variables: str) -> str:
    script = (
        "import os, flprivacy.models; e = os.environ; print(e['TF_ENABLE_ONEDNN_OPTS'], e['TF_NUM_INTRAOP_THREADS'])"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    run = subprocess.run(
        [sys.executable, "-c", script], env=kept | variables, capture_output=True, text=True, check=True
    )
    return run.stdout.strip()


def test_onednn_is_on_and_every_core_is_used_unless_the_caller_says_otherwise() -> None:
    assert _settings_after_import() == f"1 {environment.available_cores()}"
    assert _settings_after_import(TF_ENABLE_ONEDNN_OPTS="0", TF_NUM_INTRAOP_THREADS="3") == "0 3"


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 6), ("150000 100000", 2), ("5000 100000", 1), ("900000 100000", 6)]
)
def test_a_containers_quota_bounds_the_cores(
    quota: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(environment, "_QUOTA_FILE", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)))
    assert environment.available_cores() == cores


def test_processes_that_start_together_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setattr(environment, "available_cores", lambda: 8)
    environment.share_cores(2)
    assert (os.environ["TF_NUM_INTRAOP_THREADS"], os.environ["OMP_NUM_THREADS"]) == ("4", "7")


def test_a_process_that_took_all_cores_for_itself_still_shares_them_with_its_steps() -> None:
    script = (
        "import os, flprivacy.training, flprivacy.core.tensorflow_environment as e; e.available_cores = lambda: 6; "
        "e.share_cores(2); print(os.environ['TF_NUM_INTRAOP_THREADS'])"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    for chosen, threads in (({}, "3"), ({"TF_NUM_INTRAOP_THREADS": "5"}, "5")):
        run = subprocess.run(
            [sys.executable, "-c", script], env=kept | chosen, capture_output=True, text=True, check=True
        )
        assert run.stdout.strip() == threads


def test_who_works_alone_takes_all_cores_of_those_that_were_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*environment._THREAD_VARIABLES, environment._SHARE_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(environment, "available_cores", lambda: 6)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    environment.share_cores(2)
    assert environment.numeric_settings()["TF_NUM_INTRAOP_THREADS"] == "3"
    environment.take_all_cores()
    assert environment.numeric_settings()["TF_NUM_INTRAOP_THREADS"] == "6"
    assert os.environ["OMP_NUM_THREADS"] == "5"
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "4")  # the caller's
    environment.take_all_cores()
    assert environment.numeric_settings()["TF_NUM_INTRAOP_THREADS"] == "4"


@pytest.mark.parametrize("variable", environment.NUMERIC_VARIABLES)
def test_other_settings_are_another_key_of_what_keras_makes(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = []
    for value in ("0", "1"):
        monkeypatch.setenv(variable, value)
        keys.append({kind: Store(tmp_path).key(kind, {}) for kind in ("cohort", "target", "scores", "audit")})
    assert {kind for kind in keys[0] if keys[0][kind] != keys[1][kind]} == {"target", "scores"}


def test_the_processor_is_named_with_its_instruction_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(
        "model name\t: Some CPU\nflags\t\t: sse avx2 fma\n\nmodel name\t: Some CPU\nflags\t\t: sse avx2 fma\n"
    )
    monkeypatch.setattr(environment, "_PROCESSOR_FILE", file)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    assert environment.describe_compute().startswith("Some CPU avx2; TF_ENABLE_ONEDNN_OPTS=1; ")


def test_a_step_imports_keras_alone_and_may_import_the_rest_later() -> None:
    """Training that is not private loads none of what takes long and only private training or attacks use."""
    script = (
        "import gc, sys; from flprivacy.core.tensorflow_environment import import_keras; import_keras(); "
        "print('keras' in sys.modules, gc.isenabled(), gc.get_freeze_count() > 100_000); "
        "import flprivacy.training.train; "
        "print(*(m in sys.modules for m in ('matplotlib', 'sklearn', 'dp_accounting', 'scipy.stats'))); "
        "import matplotlib, sklearn"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["True True True", "False False False False"]


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries decide for themselves")
def test_memory_that_is_freed_is_kept_for_the_next_batch() -> None:
    script = (
        "import resource\n"
        "{call}\n"
        "import numpy as np\n"
        "for _ in range(100): batches = [np.ones(1 << 18) for _ in range(4)]; del batches\n"  # of 2 MiB
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)"
    )
    keep = "from flprivacy.core.tensorflow_environment import keep_freed_memory; keep_freed_memory()"
    kept, given_back = (
        int(subprocess.run([sys.executable, "-c", script.format(call=call)], capture_output=True, check=True).stdout)
        for call in (keep, "")
    )
    assert kept < 20_000 < 100_000 < given_back  # pages of 4 KiB
