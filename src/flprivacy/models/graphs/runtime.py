"""Running a graph. Nothing else imports onnxruntime, which starts threads as soon as it is imported."""

import re
from collections.abc import Sequence
from pathlib import Path

import onnx
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

from flprivacy.core.array_types import Array
from flprivacy.core.errors import TargetError
from flprivacy.models.hdf5 import one_line

_FAILURES = (
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NoModel,
    state.NotImplemented,
    state.RuntimeException,
    state.EPFail,
    state.EngineError,
    MemoryError,
    RuntimeError,
    ValueError,
)
_PLACES = re.compile(r"/\S+\.(?:cc|h):\d+ .*\) (?=\S)")  # in its sources, before what is wrong
_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


class Session:
    """A graph in memory, on a GPU where onnxruntime finds one, else on the CPU."""

    def __init__(self, model: onnx.ModelProto, path: Path, *, threads: int) -> None:
        """Load a network; no file is opened, and no library of operators is.

        Raises:
            TargetError: onnxruntime cannot run it.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4  # what is wrong is said by the exception
        options.use_deterministic_compute = True
        providers = [one for one in _PROVIDERS if one in onnxruntime.get_available_providers()]
        self._path = path
        try:
            self._session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)
        except _FAILURES as error:
            raise self._refused(error) from error

    def run(self, name: str, values: Array, outputs: Sequence[str]) -> list[Array]:
        """Return outputs for the input of that name.

        Raises:
            TargetError: the network cannot take it.
        """
        try:
            return list(self._session.run(list(outputs), {name: values}))
        except _FAILURES as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> TargetError:
        what, remedy = _PLACES.sub("", one_line(error)), "export the network again"
        if isinstance(error, state.NotImplemented):
            remedy = "export the network in float32"
        if "IR version" in what or "opset" in what.lower():
            remedy = "export the network with an older opset_version, or upgrade onnxruntime"
        return TargetError(f"{self._path}: onnxruntime cannot run it ({what}); {remedy}")
