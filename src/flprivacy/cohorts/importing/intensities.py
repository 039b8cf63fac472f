"""Whether a scan's values can be Hounsfield units, judged from the values themselves."""

from dataclasses import dataclass

import numpy as np

from flprivacy.cohorts.importing.found import ScanError
from flprivacy.cohorts.importing.stack import DENSEST_HU, Plane

_AIR_HU = (-1100.0, -500.0)  # air and lung, with noise; what lies below is padding
_FEW = 0.001  # share of voxels; every chest has more air, and more tissue
_MOST_DENSE = 0.02  # share of voxels; metal is less
_LEAST_HU = -700.0  # every chest has air that is thinner
_NOTHING_HU = (-1900.0, -1150.0)  # between padding and air
_MOST_OF_NOTHING = 0.05  # share of voxels
_MOST_UNKNOWN = 0.5  # share of voxels


@dataclass(eq=False)
class Intensities:
    """Counts the values of a scan, slice by slice.

    ``padded``: NaN is what the source calls padding, and so nothing to wonder at.
    """

    padded: bool = False
    voxels: int = 0  # of those that have a value
    unknown: int = 0  # NaN
    infinite: int = 0
    air: int = 0
    tissue: int = 0  # whatever is denser than lung
    dense: int = 0  # beyond what a CT measures
    nothing: int = 0  # where no scan has values but one that stands for padding
    padding: float = np.nan  # that value
    slices: int = 0
    filled: int = 0  # of them, with 0 HU in all four corners
    blank: int = 0  # slices of one value, or of none, since the last other one
    gaps: int = 0  # such slices between others
    repeated: int = 0  # slices that are the same as the one before
    before: Plane | None = None  # the last slice that was not blank
    low: float = np.inf
    high: float = -np.inf

    def add(self, plane: Plane) -> None:
        """Count a slice, float32 (rows, columns); NaN is where nothing was measured."""
        known = plane[np.isfinite(plane)]
        infinite = int(np.count_nonzero(np.isinf(plane)))
        self.infinite += infinite
        self.unknown += plane.size - known.size - infinite
        self._compare(plane, blank=not known.size or known.min() == known.max())
        if not known.size:
            return
        self.voxels += known.size
        self.slices += 1
        self.filled += not plane[:: max(len(plane) - 1, 1), :: max(plane.shape[1] - 1, 1)].any()
        self.air += int(np.count_nonzero((known >= _AIR_HU[0]) & (known <= _AIR_HU[1])))
        self.tissue += int(np.count_nonzero(known > _AIR_HU[1]))
        self.dense += int(np.count_nonzero(known > DENSEST_HU))
        nothing = known[(known > _NOTHING_HU[0]) & (known < _NOTHING_HU[1])]
        if nothing.size and np.isnan(self.padding):
            self.padding = float(np.median(nothing))
        self.nothing += int(np.count_nonzero(nothing != np.float32(self.padding)))
        self.low, self.high = min(self.low, float(known.min())), max(self.high, float(known.max()))

    def _compare(self, plane: Plane, *, blank: bool) -> None:
        """Notice slices between others that show nothing, and those that repeat the one before."""
        if blank:
            self.blank += 1
            return
        if self.before is not None:
            self.gaps += self.blank
            self.repeated += not self.blank and np.array_equal(plane, self.before, equal_nan=True)
        self.before, self.blank = plane, 0

    def check(self) -> None:
        """Refuse a scan whose values cannot be HU.

        Raises:
            ScanError: they are constant, an image's (0 to 255, or up to 1), a mask's, shifted (1024 was added or taken
                away), or far too large; or most of them are no numbers.
        """
        span = f"values from {self.low:g} to {self.high:g}"
        if not self.voxels or self.low == self.high:
            raise ScanError("not in HU", f"one value everywhere, {self.low:g}" if self.voxels else "no value is known")
        share = (self.unknown + self.infinite) / (self.unknown + self.infinite + self.voxels)
        if share > _MOST_UNKNOWN and not self.padded:
            rule = "export it again, or fill up with -1000 where nothing was measured"
            raise ScanError("mostly without values", f"{share:.0%} of its voxels are NaN or infinite; {rule}")
        if self.low >= -1.0 and self.high <= 1.0:
            raise ScanError("not in HU", f"{span}, as in scaled images and masks")
        if self.low >= 0.0 and self.high <= 255.0:
            raise ScanError("not in HU", f"{span}, as in images of 8 bits and masks")
        if self.tissue < _FEW * self.voxels or self.nothing > _MOST_OF_NOTHING * self.voxels:
            raise ScanError("not in HU", f"{span}, too low for tissue; was a constant such as 1024 taken away?")
        if self.air < _FEW * self.voxels or self.low > _LEAST_HU:
            raise ScanError("not in HU", f"{span}, and none near air; was a constant such as 1024 added?")
        if 2 * self.filled > self.slices:  # NaN, too, is not 0
            rule = "0 HU in the corners, as left by a filter that fills up with 0; fill up with -1000 instead"
            raise ScanError("not in HU", rule)
        if self.dense > _MOST_DENSE * self.voxels:
            raise ScanError("not in HU", f"{span}, {self.dense / self.voxels:.0%} denser than metal; is it scaled?")

    def notes(self) -> tuple[str, ...]:
        """Return what is odd about the values of a scan that may be taken."""
        unknown = 0 if self.padded and self.unknown <= _MOST_UNKNOWN * (self.unknown + self.voxels) else self.unknown
        counted = (
            (unknown, "voxels are padding by its own tags" if self.padded else "voxels are NaN, taken as air"),
            (self.infinite, "voxels are infinite, cut off"),
            (self.gaps, "slices between others hold no more than one value"),
            (self.repeated if self.repeated > 1 else 0, "slices are the same as the one before"),
        )
        return tuple(f"{count} {what}" for count, what in counted if count)
