"""The pixels of DICOM slices in HU, one slice at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.pixels.utils import iter_pixels

from flprivacy.cohorts.importing.dicom_header import Slice
from flprivacy.cohorts.importing.dicom_stream import BoundedFile, quiet
from flprivacy.cohorts.importing.scan_error import refusing
from flprivacy.cohorts.importing.stack import AIR_HU, Plane


def planes_hu(slices: Sequence[Slice], padding: int | None) -> Iterator[Plane]:
    """Read slices one at a time, in the order given.

    Args:
        slices: of one series.
        padding: stored value that stands for no measurement.

    Yields:
        float32 (rows, columns) in HU.

    Raises:
        ScanError: pixels are truncated or damaged.
    """
    start = 0
    while start < len(slices):
        end = start + 1
        while end < len(slices) and slices[end].path == slices[start].path:
            end += 1
        chosen = slices[start:end]
        frames = _stored(chosen[0].path, [piece.frame for piece in chosen])
        for piece in chosen:
            with quiet(), refusing("truncated or damaged pixel data"):
                stored = next(frames, None)
                if stored is None or stored.ndim != 2:
                    raise ValueError
                plane = stored.astype(np.float32) * np.float32(piece.slope) + np.float32(piece.intercept)
                if padding is not None:
                    plane[stored == padding] = AIR_HU
            yield plane
        start = end


def _stored(path: Path, frames: Sequence[int]) -> "Iterator[np.ndarray[Any, Any]]":
    with BoundedFile(path, header=False) as stream:
        yield from iter_pixels(stream, indices=list(frames))
