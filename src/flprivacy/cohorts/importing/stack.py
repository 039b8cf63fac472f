"""A stack of parallel slices with its place in the patient: what every source of scans is turned into."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flprivacy.cohorts.importing.found import ScanError

Plane = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]

AIR_HU, DENSEST_HU = -1024.0, 3071.0
MAX_EDGE, MAX_SLICES = 2048, 5000
_SAME_PLACE_MM = 0.01
_SAME_DIRECTION, _SAME_SPACING = 1e-3, 1e-3  # half a millimetre at the edge of a large slice
_STRAIGHT_MM = 1.0
_TILT_DEGREES = 0.5
_UNEVEN = 0.25  # of the distance between slices


@dataclass(frozen=True, kw_only=True, eq=False)
class Stack:
    """Parallel slices.

    Positions are DICOM's patient coordinates in millimetres: x to the patient's left, y to the back, z to the head.
    """

    rows: int  # voxels down a slice
    columns: int  # voxels across a slice
    places: Points  # (n,) where each slice lies, ascending from 0, in units of the distance between slices
    affine: Points  # (4, 4) from (place, row, column, 1) to (x, y, z, 1). It may shear (gantry tilt) and turn
    # starts reading the slices in order, one at a time: float32 (rows, columns) in HU
    planes: Callable[[], Iterator[Plane]]
    tilt_degrees: float = 0.0  # angle between the stack's direction and the slices' normal
    notes: tuple[str, ...] = ()  # what is worth knowing about where it lies
    padded: bool = False  # whether the source itself says where nothing was measured: NaN stands for that alone

    @property
    def slices(self) -> int:
        """Slices between the first and the last, missing ones included."""
        return round(float(self.places[-1])) + 1

    @property
    def missing(self) -> int:
        """Slices that are missing between the first and the last."""
        return max(0, self.slices - len(self.places))

    @property
    def tilted(self) -> bool:
        """Whether the slices are tilted against the stack's direction."""
        return self.tilt_degrees > _TILT_DEGREES


def check_frame(orientation: Points, spacing_mm: Sequence[float], rows: int, columns: int) -> None:
    """Refuse slices of ``rows`` x ``columns`` voxels whose geometry cannot be true.

    ``orientation`` is (2, 3), the directions of increasing column and of increasing row; ``spacing_mm`` the distance
    between rows and between columns.

    Raises:
        ScanError: directions are no unit vectors at right angles, or sizes are absurd.
    """
    if not (2 <= rows <= MAX_EDGE and 2 <= columns <= MAX_EDGE):
        raise ScanError("absurd dimensions", f"{rows} x {columns} pixels where 2 to {MAX_EDGE} can be right")
    if not all(0.01 <= edge <= 20.0 for edge in spacing_mm):
        raise ScanError("absurd pixel spacing")
    unit = np.allclose(np.linalg.norm(orientation, axis=1), 1.0, atol=1e-2)
    if not (np.isfinite(orientation).all() and unit and abs(float(orientation[0] @ orientation[1])) < 1e-2):
        raise ScanError("orientation is not two unit vectors at right angles")


def check_same_geometry(
    orientation: Sequence[float], spacing_mm: Sequence[float], other: Sequence[float], other_spacing_mm: Sequence[float]
) -> None:
    """Refuse slices of one series whose orientation or pixel spacing differ by more than how they are written down.

    Raises:
        ScanError: names the tag.
    """
    if not np.allclose(orientation, other, rtol=0.0, atol=_SAME_DIRECTION):
        raise ScanError("mixed series", "ImageOrientationPatient differs between slices of one series UID")
    if not np.allclose(spacing_mm, other_spacing_mm, rtol=_SAME_SPACING, atol=0.0):
        raise ScanError("mixed series", "PixelSpacing differs between slices of one series UID")


def order_slices(positions: Points, orientation: Points) -> tuple[npt.NDArray[np.int64], Points]:
    """Order slices along their normal by (n, 3) the centres of their first voxels, and their (2, 3) orientation.

    Returns:
        (n,) order that sorts the slices, and (n,) their ascending distances along the normal in that order.

    Raises:
        ScanError: a position is absurd, or two slices lie at one place.
    """
    if not (np.isfinite(positions).all() and np.abs(positions).max() < 1e5):
        raise ScanError("absurd slice position")
    along = positions @ np.cross(orientation[0], orientation[1])
    order = np.argsort(along, kind="stable")
    if len(along) > 1 and float(np.diff(along[order]).min()) < _SAME_PLACE_MM:
        raise ScanError("mixed series", "several slices at one place: phases or reconstructions in one series")
    return order, along[order]


def place_slices(
    positions: Points,
    along: Points,
    orientation: Points,
    spacing_mm: Sequence[float],
) -> tuple[Points, Points, float]:
    """Find the places of ordered slices, the affine of their stack and its tilt.

    ``positions`` (n, 3), n at least 2, are those of the slices in order, ``along`` (n,) comes from
    :func:`order_slices`; the others are as for :func:`check_frame`.

    Returns:
        ``places`` and ``affine`` of a :class:`Stack`, and its tilt in degrees.

    Raises:
        ScanError: the slices do not follow one line at even distances.
    """
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    if not _SAME_PLACE_MM <= usual <= 100.0 or float(gaps.max()) > MAX_SLICES * usual:
        raise ScanError("absurd distance between slices")
    numbers = np.concatenate([[0.0], np.cumsum(np.maximum(1.0, np.rint(gaps / usual)))])
    # Over all slices at once: stored positions are rounded, and the median's error would add up along the stack.
    step = float(np.polyfit(numbers, along, 1)[0])
    places = (along - along[0]) / step
    if np.abs(places - numbers).max() > _UNEVEN:
        raise ScanError("uneven distances between slices")
    if round(float(places[-1])) + 1 > MAX_SLICES:
        raise ScanError("absurd extent", f"more than {MAX_SLICES} slices from the first to the last")
    centred = along - along.mean()
    drift = centred @ (positions - positions.mean(axis=0)) / (centred @ centred)  # (3,) mm per mm along the normal
    line = positions[0] + np.outer(along - along[0], drift)
    if np.linalg.norm(positions - line, axis=1).max() > _STRAIGHT_MM:
        raise ScanError("mixed series", "slices do not follow one line")
    affine = np.eye(4)
    affine[:3] = np.stack(
        [drift * step, orientation[1] * spacing_mm[0], orientation[0] * spacing_mm[1], positions[0]], axis=1
    )
    return places, affine, float(np.degrees(np.arctan(np.sqrt(max(0.0, float(drift @ drift) - 1.0)))))
