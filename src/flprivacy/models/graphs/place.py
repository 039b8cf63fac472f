"""How a scan lies in a network's input: axes, channels, batches and the kind of numbers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from flprivacy.core.errors import TargetError
from flprivacy.core.target_source import AXES
from flprivacy.models.foreign.contract import Shape, guessed_axes, shares_of, told_axes
from flprivacy.models.graphs.tracing import Graph

Floats = npt.NDArray[np.float32]

_TYPES = {
    onnx.TensorProto.FLOAT: np.float32,
    onnx.TensorProto.FLOAT16: np.float16,
    onnx.TensorProto.DOUBLE: np.float64,
    **{
        getattr(onnx.TensorProto, kind.upper()): getattr(np, kind)
        for kind in ("uint8", "int8", "uint16", "int16", "int32", "int64")
    },
}
_COLOURS = (1, 3)
_CHANNEL = "c"


@dataclass(frozen=True, kw_only=True)
class Place:
    """How a scan lies in a network's input."""

    axes: str  # order of d, h, w and, where there is an axis for channels, c
    shape: Shape
    channels: int  # 1 or 3
    batch: int  # scans that it takes at once; 0: any number
    dtype: type
    told: bool  # whether the order of the axes follows from their sizes
    fixed: bool  # whether the file gives the sizes

    @classmethod
    def of(cls, graph: Graph, axes: str, shape: Shape | None) -> "Place":
        """Find out how a network takes scans.

        Args:
            graph: the network.
            axes: order of its axes; empty: what their sizes tell.
            shape: (depth, height, width) of the scans; None: what their sizes tell.

        Raises:
            TargetError: it takes no scans; or the sizes do not tell what was not stated, or contradict what was.
        """
        sizes, kind = graph.sizes(), graph.input.type.tensor_type.elem_type
        if kind not in _TYPES:
            raise TargetError(f"{graph.path}: takes what are no numbers; export the network so that it takes float32")
        axes, told = _stated_axes(sizes, axes) if axes else _guessed_axes(sizes, graph.path)
        by_axis = dict(zip(axes, sizes[1:], strict=False))
        if len(axes) != len(sizes) - 1 or by_axis.get(_CHANNEL, 1) not in (*_COLOURS, None):
            raise TargetError(
                f"{graph.path}: takes {_shown(sizes)}, which is not (n, {', '.join(axes)}) with 1 or 3 channels; give "
                "axes in the order in which it takes them, such as cdhw, chwd or dhwc"
            )
        own = tuple(by_axis[axis] for axis in AXES)
        whole = shape or own
        if any(one is None for one in whole):
            raise TargetError(f"{graph.path}: takes scans of any size; give theirs, such as shape=24x256x256")
        if any(one not in (None, size) for one, size in zip(own, whole, strict=True)):
            raise TargetError(f"{graph.path}: takes scans of shape {own}, not {shape}; leave shape out")
        depth, height, width = (int(size or 0) for size in whole)
        return cls(
            axes=axes,
            shape=(depth, height, width),
            channels=by_axis.get(_CHANNEL) or 1,
            batch=sizes[0] or 0,
            dtype=_TYPES[kind],
            told=told,
            fixed=None not in own,
        )

    def arranged(self, scans: Floats) -> npt.NDArray[Any]:
        """Turn (n, depth, height, width, 1) of any grid into what the network takes; axes of its own sizes stay."""
        for axis, size in enumerate(self.shape, start=1):
            if scans.shape[axis] != size:
                shares = shares_of(scans.shape[axis], size)
                scans = np.moveaxis(np.tensordot(scans, shares, axes=([axis], [1])), -1, axis)
        spatial = self.axes.replace(_CHANNEL, "")
        found = scans[..., 0].transpose(0, *(1 + AXES.index(axis) for axis in spatial))  # (n, *spatial)
        if _CHANNEL in self.axes:
            where = 1 + self.axes.index(_CHANNEL)
            found = np.repeat(np.expand_dims(found, where), self.channels, axis=where)
        if np.issubdtype(self.dtype, np.integer):
            found = np.rint(found)
        return np.ascontiguousarray(found, dtype=self.dtype)

    def batches(self, taken: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Split scans into batches of the size that the network was exported for, the last one filled up."""
        if not self.batch:
            return [taken]
        fill = -len(taken) % self.batch
        filled = np.concatenate([taken, np.repeat(taken[-1:], fill, axis=0)])
        return np.split(filled, len(filled) // self.batch)


def _stated_axes(sizes: tuple[int | None, ...], axes: str) -> tuple[str, bool]:
    """Return the order of axes that its owner states, and whether the sizes of its slices tell the same."""
    known = [size for axis, size in zip(axes, sizes[1:], strict=False) if axis != _CHANNEL and size is not None]
    spatial = (known[0], known[1], known[2]) if len(known) == len(AXES) else None
    return axes, told_axes(spatial, axes.replace(_CHANNEL, ""))[1]


def _guessed_axes(sizes: tuple[int | None, ...], path: Path) -> tuple[str, bool]:
    """Return the order of axes after the batch's, and whether the sizes tell which of them are slices."""
    rank, spatial, form = len(sizes) - 1, sizes[1:], "{}"
    if rank == 4 and sizes[1] in _COLOURS:
        spatial, form = sizes[2:], f"{_CHANNEL}{{}}"
    elif rank == 4 and sizes[4] in _COLOURS:
        spatial, form = sizes[1:4], f"{{}}{_CHANNEL}"
    known = [size for size in spatial if size is not None]
    if len(spatial) != 3 or len(known) != 3 or (rank == 3 and sizes[1] in _COLOURS):
        raise TargetError(
            f"{path}: takes {_shown(sizes)}, which does not tell the order of its axes; give axes=cdhw for (n, "
            "channel, depth, height, width), or another order such as chwd or dhwc; networks of slices are not read"
        )
    order, told = guessed_axes((known[0], known[1], known[2]))
    return form.format(order), told


def _shown(sizes: tuple[int | None, ...]) -> str:
    return f"({', '.join('any' if size is None else str(size) for size in sizes)})"
