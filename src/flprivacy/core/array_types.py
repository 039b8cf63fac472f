"""The types of arrays, by what is in them; their shapes are said where they are used."""

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
StrArray = npt.NDArray[np.str_]
Volumes = npt.NDArray[np.uint8]  # (scan, depth, height, width)
Array = npt.NDArray[Any]
