"""From a stack of slices to a volume of the cohort: orientation, resampling and intensity window.

Volumes lie in the patient's own axes whatever the scanner's were: depth runs from head to feet, height from front to
back, width from the patient's right to the left.

Slices are read once, one at a time. Where the cohort's grid is coarser they are first averaged in whole blocks, which
keeps memory at about the size of the result and does what partial volume does in a scanner; then one linear
interpolation turns, shears and scales.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from flprivacy.cohorts.importing.found import Reading, ScanError, Volume
from flprivacy.cohorts.importing.intensities import Intensities
from flprivacy.cohorts.importing.stack import AIR_HU, DENSEST_HU, Plane, Points, Stack

Shape = tuple[int, int, int]
Spacing = tuple[float, float, float]

# Directions of depth (to the feet), height (to the back) and width (to the left) as (x, y, z): rows.
AXES_LPS = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
_SAME_PLACE = 0.05  # of the distance between slices
_MAX_EXTENT_MM = 5000.0
_MAX_BLOCKS = 1 << 28


def _volume_grid(stack: Stack, shape: Shape, spacing_mm: Spacing | None) -> Points:
    """Return (4, 4) from (depth, height, width, 1) index of a stack's volume to (x, y, z, 1) in DICOM's coordinates."""
    sizes = np.array([stack.slices, stack.rows, stack.columns], dtype=np.float64)
    corners = np.array(np.meshgrid(*[(-0.5, size - 0.5) for size in sizes], indexing="ij")).reshape(3, -1)
    box = AXES_LPS @ (stack.affine[:3, :3] @ corners + stack.affine[:3, 3:])  # (axis, corner) along depth ...
    low, high = box.min(axis=1), box.max(axis=1)
    if not np.isfinite(box).all() or (high - low).max() > _MAX_EXTENT_MM or (high - low).min() <= 0:
        raise ScanError("absurd extent", f"more than {_MAX_EXTENT_MM:g} mm or none")
    size = np.array(spacing_mm) if spacing_mm is not None else (high - low) / np.array(shape)
    first = (low + high) / 2 - size * (np.array(shape) - 1) / 2
    affine = np.eye(4)
    affine[:3, :3] = AXES_LPS.T * size  # columns: depth, height, width
    affine[:3, 3] = AXES_LPS.T @ first
    return affine


def resample(stack: Stack, *, shape: Shape, spacing_mm: Spacing | None, window_hu: tuple[float, float]) -> Reading:
    """Read a stack and return its volume, with what is odd about its values.

    Args:
        stack: the slices.
        shape: (depth, height, width) of the volume.
        spacing_mm: (depth, height, width) of a voxel; None spreads the shape over the stack's bounding box, from
            outer voxel edge to outer voxel edge.
        window_hu: (low, high) intensities that become 0 and 255.

    Returns:
        uint8 (depth, height, width), air where the scan does not reach; and notes.

    Raises:
        ScanError: the geometry is absurd, slices cannot be read, or their values cannot be HU or mostly are none.
    """
    grid = _volume_grid(stack, shape, spacing_mm)
    # Length of one step of each source axis in voxels of the volume.
    steps = np.linalg.norm(np.linalg.inv(grid[:3, :3]) @ stack.affine[:3, :3], axis=0)
    sizes = np.array([stack.slices, stack.rows, stack.columns])
    blocks = np.clip(np.rint(1.0 / steps), 1, sizes).astype(np.int64)
    if np.prod(-(-sizes // blocks)) > _MAX_BLOCKS:
        raise ScanError("absurd dimensions", "more voxels than can be held")
    intensities = Intensities(padded=stack.padded)
    averaged = np.pad(_average(stack, blocks, intensities), 1, mode="edge")
    hu = _on_grid(averaged, blocks, stack, grid, shape)
    try:
        intensities.check()
    except ScanError as error:
        raise ScanError(error.reason, error.detail, hu) from None
    return Reading(window(hu, window_hu), intensities.notes())


def _on_grid(
    averaged: npt.NDArray[np.float32], blocks: npt.NDArray[np.int64], stack: Stack, grid: Points, shape: Shape
) -> npt.NDArray[np.float32]:
    """Interpolate block means, padded by one, on the grid of the volume; air where they do not reach."""
    from_blocks = np.eye(4)  # a block's index, after padding, to the source index of its centre
    from_blocks[:3, :3] = np.diag(blocks)
    from_blocks[:3, 3] = (blocks - 1) / 2 - blocks
    mapping = np.linalg.inv(stack.affine @ from_blocks) @ grid
    hu: npt.NDArray[np.float32] = ndimage.affine_transform(
        averaged, mapping[:3, :3], mapping[:3, 3], output_shape=shape, order=1, mode="constant", cval=AIR_HU
    )
    return hu


def window(hu: npt.NDArray[np.float32], window_hu: tuple[float, float]) -> Volume:
    """Return intensities as uint8: ``window_hu`` becomes 0 to 255, rounded; what lies outside is cut off."""
    low, high = window_hu
    scaled = (np.clip(hu, low, high) - np.float32(low)) * np.float32(255.0 / (high - low))
    return np.asarray(np.rint(scaled), dtype=np.uint8)


def _average(stack: Stack, blocks: npt.NDArray[np.int64], intensities: Intensities) -> npt.NDArray[np.float32]:
    """Return block means, (slice, row, column) blocks. An incomplete last block repeats its last voxels."""
    depth, rows, columns = (int(block) for block in blocks)
    shape = (-(-stack.slices // depth), -(-stack.rows // rows), -(-stack.columns // columns))
    out = np.zeros(shape, dtype=np.float32)
    count, plane = 0, np.zeros(shape[1:], dtype=np.float32)
    for place, full in enumerate(_evenly(stack, intensities)):
        plane = _shrink(full, rows, columns)
        out[place // depth] += plane
        count = place + 1
    if count != stack.slices:
        raise ScanError("truncated pixel data", f"{count} of {stack.slices} slices")
    out[-1] += plane * np.float32(shape[0] * depth - count)
    out /= np.float32(depth)
    return out


def _shrink(plane: Plane, rows: int, columns: int) -> Plane:
    if rows == columns == 1:
        return plane
    height, width = plane.shape
    padded = np.pad(plane, ((0, -height % rows), (0, -width % columns)), mode="edge")
    parts = padded.reshape(padded.shape[0] // rows, rows, padded.shape[1] // columns, columns)
    return np.asarray(parts.mean(axis=(1, 3)), dtype=np.float32)


def _evenly(stack: Stack, intensities: Intensities) -> Iterator[Plane]:
    """Yield a slice at every whole place: those that are there, and interpolated ones between them."""
    wanted = 0
    before: tuple[float, Plane] | None = None
    for place, plane in zip(stack.places.tolist(), _checked(stack, intensities), strict=False):
        while wanted <= place + _SAME_PLACE and wanted < stack.slices:
            if before is None or place - wanted <= _SAME_PLACE:
                yield plane
            else:
                share = np.float32((wanted - before[0]) / (place - before[0]))
                yield before[1] * (1 - share) + plane * share
            wanted += 1
        before = (place, plane)
    if before is not None and wanted == stack.slices - 1:
        yield before[1]  # the last slice lies a little before the last whole place


def _checked(stack: Stack, intensities: Intensities) -> Iterator[Plane]:
    """Yield slices of the right size, cut to what a CT can measure, with air for what is not a number."""
    for plane in stack.planes():
        if plane.shape != (stack.rows, stack.columns):
            raise ScanError("slices differ in size")
        intensities.add(plane)
        known = np.nan_to_num(np.asarray(plane, dtype=np.float32), nan=AIR_HU, posinf=DENSEST_HU, neginf=AIR_HU)
        yield np.clip(known, np.float32(AIR_HU), np.float32(DENSEST_HU))
