"""Pictures of scans for whoever looks at a generator: samples beside real scans, and the nearest pairs."""

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from flprivacy.cohorts.format import read_volumes
from flprivacy.core.array_types import IntArray
from flprivacy.core.cohort import TEST, Cohort
from flprivacy.core.generator_audit import NearestPair, SamplePicture
from flprivacy.synthesis.checks.neighbours import Neighbours

_MOST_SITES, _MOST_CLASSES, _PAIRS = 6, 4, 8
_EDGE_PIXELS = 128
_QUALITY = 85


def sample_pictures(cohort: Cohort, synthetic: Cohort) -> tuple[SamplePicture, ...]:
    """Return a sample of each class of the largest sites, beside a real scan of the same, held out if there is one."""
    made, real = synthetic.manifest, cohort.manifest
    sites = real["site_id"].value_counts().index[:_MOST_SITES]
    found = []
    for site in sorted(int(one) for one in sites):
        for label in range(min(len(cohort.meta.class_names), _MOST_CLASSES)):
            of_both = [np.flatnonzero((m["site_id"] == site) & (m["label"] == label)) for m in (made, real)]
            if not len(of_both[0]):
                continue
            held_out = of_both[1][(real["split"].to_numpy() == TEST)[of_both[1]]]
            beside = held_out if len(held_out) else of_both[1]
            found.append(
                SamplePicture(
                    site=cohort.meta.site_names[site],
                    label=cohort.meta.class_names[label],
                    synthetic=middle_slice(read_volumes(synthetic, of_both[0][:1])[0]),
                    real=middle_slice(read_volumes(cohort, beside[:1])[0]) if len(beside) else "",
                )
            )
    return tuple(found)


def nearest_pairs(
    cohort: Cohort, synthetic: Cohort, rows: IntArray, found: Neighbours, distances: npt.NDArray[np.floating]
) -> tuple[NearestPair, ...]:
    """Return the synthetic scans that are nearest to one patient, relative to all others, with the patient's scan.

    Of each patient only the nearest is shown.

    Args:
        cohort: the real scans.
        synthetic: the synthetic scans.
        rows: (scan,) rows of the synthetic scans that were looked at.
        found: their nearest patients.
        distances: (scan, real scan) from these.
    """
    closeness = found.closeness()
    order = np.argsort(-closeness, kind="stable")
    _, first = np.unique(found.patients[order, 0], return_index=True)
    pairs = []
    for place in order[np.sort(first)[:_PAIRS]].tolist():
        row = int(distances[place].argmin())
        pairs.append(
            NearestPair(
                synthetic=middle_slice(read_volumes(synthetic, rows[place : place + 1])[0]),
                real=middle_slice(read_volumes(cohort, np.array([row]))[0]),
                closeness=float(closeness[place]),
                trained_on=bool(cohort.manifest["split"].iloc[row] != TEST),
            )
        )
    return tuple(pairs)


def middle_slice(volume: npt.NDArray[np.uint8]) -> str:
    """Return the middle slice of (depth, height, width) as a data URI, at most 128 pixels wide or high."""
    image = Image.fromarray(volume[len(volume) // 2])
    image.thumbnail((_EDGE_PIXELS, _EDGE_PIXELS))
    buffer = io.BytesIO()
    image.save(buffer, format="webp", quality=_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
