"""What models on halves of the hospitals answer for each hospital: the small table that is judged."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class SiteSignals:
    """Mean signals of hospitals, by each reference of one target.

    Attributes:
        target: its name.
        why_not: why it has none although they were asked for; empty where it has.
        sites: (site,) names.
        took_part: (reference, site) bool; references 2k and 2k + 1 were trained on complementary halves.
        contributed: (reference, site) of the scans that a hospital trains with where it takes part: the mean over its
            patients of the mean over their scans.
        held_out: (reference, site) of its other scans; NaN where it has none.
    """

    target: str
    why_not: str = ""
    sites: tuple[str, ...] = ()
    took_part: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty((0, 0), np.bool_))
    contributed: FloatArray = field(default_factory=lambda: np.empty((0, 0), np.float64))
    held_out: FloatArray = field(default_factory=lambda: np.empty((0, 0), np.float64))
