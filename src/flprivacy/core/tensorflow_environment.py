"""What TensorFlow is told before it is imported, in one place for every entry.

TensorFlow reads these variables once, when it is loaded. Each package of flprivacy that imports Keras calls
:func:`prepare_tensorflow` in its ``__init__``, which runs before any of its modules. What the caller's environment sets
is kept.

The bits of a result depend on :data:`NUMERIC_VARIABLES`: oneDNN's kernels round otherwise than Eigen's, and the
gradient of a convolution is summed up in as many parts as an operation has threads. The same settings on the same
processor give the same bits. The settings are part of the store's keys. The processor is not: instruction sets change
rounding too, but nodes of several kinds share a store, and an interrupted run carries on at another node. The audit's
provenance states both.
"""

import ctypes
import gc
import importlib
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NUMERIC_VARIABLES = ("TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTRAOP_THREADS")
_THREAD_VARIABLES = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_SHARE_VARIABLE = "FLPRIVACY_SHARE_OF_CORES"  # for the processes that share them: what each was given
_OURS: dict[str, str] = {}  # what we set: a variable that holds something else is the caller's
_QUOTA_FILE = Path("/sys/fs/cgroup/cpu.max")
_PROCESSOR_FILE = Path("/proc/cpuinfo")
_UNUSED_BY_STEPS = ("matplotlib", "sklearn")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt
_KEPT_BYTES, _LARGEST_KEPT_BYTES = 1 << 28, 1 << 25
_INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_vnni", "amx_tile")


def prepare_tensorflow() -> None:
    """Set what TensorFlow reads when it is imported, unless the caller set it or TensorFlow is imported already.

    oneDNN's kernels are on: TensorFlow by itself uses them only where it finds AVX512, and without them a training
    step on AVX2 takes several times longer.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if "TF_NUM_INTRAOP_THREADS" not in os.environ:
        _set("TF_NUM_INTRAOP_THREADS", str(available_cores()))


def _set(name: str, value: str) -> None:
    os.environ[name] = _OURS[name] = value


def import_keras() -> None:
    """Import Keras without the plotting and scikit-learn wrappers that it loads where it finds these libraries.

    They are a third of the seconds that a step takes to start, and no step uses them. A quarter of the rest would go to
    Python's collector of garbage, which goes through all that is being loaded again and again, so it waits. Does
    nothing where Keras is imported already.
    """
    if "keras" in sys.modules:
        return
    prepare_tensorflow()
    hidden = [name for name in _UNUSED_BY_STEPS if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: as if it were not installed
    try:
        with _without_collecting():
            importlib.import_module("keras")
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Collect no garbage meanwhile, and never again go through what is there by then."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if collecting:
            gc.enable()


def numeric_settings() -> dict[str, str]:
    """Return the settings that the bits of TensorFlow's results depend on, by the names of their variables."""
    prepare_tensorflow()
    return {name: os.environ.get(name, "TensorFlow's default") for name in NUMERIC_VARIABLES}


def threads() -> int:
    """Return how many cores TensorFlow's operations may use in this process."""
    count = numeric_settings()["TF_NUM_INTRAOP_THREADS"]
    return int(count) if count.isdigit() and int(count) else available_cores()


def share_cores(processes: int) -> None:
    """Let each of so many processes that this one starts at the same time use its share of the cores.

    Two steps with as many threads each as there are cores wait for each other at every operation.
    """
    share = str(max(1, available_cores() // processes))
    for name in _THREAD_VARIABLES:
        if os.environ.get(name) in (None, _OURS.get(name)):  # also where prepare_tensorflow gave all cores to this one
            _set(name, share)
            os.environ[_SHARE_VARIABLE] = share


def take_all_cores() -> None:
    """Let this process use all cores where it was given a share of them: for one beside which no other works.

    To be called before TensorFlow is imported. What the caller's environment sets is kept.
    """
    share = os.environ.get(_SHARE_VARIABLE)
    for name in _THREAD_VARIABLES:
        if share is not None and os.environ.get(name) == share:
            _set(name, str(available_cores()))


def keep_freed_memory() -> None:
    """Let this process keep what it frees for what it allocates next, up to a quarter of a GiB.

    The C library of Linux gives large blocks back to the system at once, which clears their pages anew for the next
    batch: that was a tenth of a training's seconds. Does nothing where the C library cannot be told.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT_BYTES)


def available_cores() -> int:
    """Return how many cores this process may use, at least one.

    A container's quota counts: TensorFlow itself sees the node's cores and would start a thread for each.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        quota, period = _QUOTA_FILE.read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, -(-int(quota) // int(period))))


def describe_compute() -> str:
    """Return what the bits of results made here depend on, as one line: processor, instruction sets and settings."""
    return "; ".join([_processor(), *(f"{name}={value}" for name, value in numeric_settings().items())])


def _processor() -> str:
    try:
        lines = _PROCESSOR_FILE.read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in reversed(lines))}
    flags = facts.get("flags", "").split()
    sets = [name for name in _INSTRUCTION_SETS if name in flags]
    return " ".join([facts.get("model name", platform.machine()), *sets])
