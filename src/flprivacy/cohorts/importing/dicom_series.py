"""One DICOM series: what its slices must share, what may vary, and the stack that they make."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby

import numpy as np
import numpy.typing as npt

from flprivacy.cohorts.importing.config import ImportConfig
from flprivacy.cohorts.importing.dicom_files import Slice, planes_hu
from flprivacy.cohorts.importing.dicom_header import APART, Header
from flprivacy.cohorts.importing.found import ScanError
from flprivacy.cohorts.importing.stack import Stack, check_same_geometry, order_slices, place_slices

Series = dict[Header, list[Slice]]  # slices of one SeriesInstanceUID, by what their headers say
Kinds = Mapping[tuple[int, tuple[float, float, float]], tuple[str, ...]]  # (instance, position) -> values of APART

_SHARED = {"PatientID": "patient", "StudyInstanceUID": "study", "Rows": "rows", "Columns": "columns"}
_SAME_AGE_YEARS = 1.0  # a birthday between two slices


def series_stack(
    series: Series, keywords: Sequence[str], config: ImportConfig, counts: Counter[str]
) -> tuple[Header, Stack, Sequence[Slice]]:
    """Return what is known of a series, its stack and its slices in order; localizers and copies are left out.

    Args:
        series: slices by header.
        keywords: of the tags whose values were asked for.
        config: settings.
        counts: copies are added to it.

    Raises:
        ScanError: the series mixes several things (the tag in which they differ is named), or makes no stack.
    """
    parts = {header: slices for header, slices in series.items() if not header.localizer}
    if not parts:
        raise ScanError("localizer")
    header = _merged(parts, keywords)
    if not header.series:
        raise ScanError("no series UID")
    found = [piece for slices in parts.values() for piece in slices]
    unique = {(piece.instance, piece.position): piece for piece in found}  # some exports give all slices one UID
    kinds = {(piece.instance, piece.position): part.apart for part, slices in parts.items() for piece in slices}
    single = _without_copies(list(unique.values()), kinds)
    counts["copies of slices"] += len(found) - len(single)
    stack, ordered = _stack(header, single, kinds, config)
    return header, stack, ordered


def _merged(parts: Series, keywords: Sequence[str]) -> Header:
    """Return one header of slices that may differ in what changes nothing."""
    most = max(parts, key=lambda header: len(parts[header]))
    for header in parts:
        for keyword, name in _SHARED.items():
            if getattr(header, name) != getattr(most, name):
                raise ScanError("mixed series", f"{keyword} differs between slices of one series UID")
        check_same_geometry(most.orientation, most.spacing_mm, header.orientation, header.spacing_mm)
    ages = [header.age_years for header in parts if header.age_years is not None]
    sexes = {header.sex for header in parts if header.sex is not None}
    return replace(
        most,
        sex=sexes.pop() if len(sexes) == 1 else None,
        age_years=min(ages) if ages and max(ages) - min(ages) <= _SAME_AGE_YEARS else None,
        values=tuple(_one_value(keyword, [h.values[place] for h in parts]) for place, keyword in enumerate(keywords)),
    )


def _one_value(keyword: str, values: Sequence[str]) -> str:
    known = {value for value in values if value}
    if len(known) > 1:
        raise ScanError("mixed series", f"{keyword} differs between slices of one series UID")
    return known.pop() if known else ""


def _stack(
    header: Header, slices: Sequence[Slice], kinds: Kinds, config: ImportConfig
) -> tuple[Stack, Sequence[Slice]]:
    """Return the stack of a series and its slices in order."""
    if len(slices) < config.min_slices:
        raise ScanError("too few slices", f"{len(slices)} where {config.min_slices} are asked for")
    orientation = np.array(header.orientation).reshape(2, 3)
    positions = np.array([piece.position for piece in slices])
    _check_one_kind(positions, orientation, [kinds[piece.instance, piece.position] for piece in slices])
    order, along = order_slices(positions, orientation)
    _check_one_pass([slices[index].seconds for index in order.tolist()])
    ordered = [slices[index] for index in order.tolist()]
    places, affine, tilt = place_slices(positions[order], along, orientation, header.spacing_mm)
    stack = Stack(
        rows=header.rows,
        columns=header.columns,
        places=places,
        affine=affine,
        planes=partial(planes_hu, ordered),
        tilt_degrees=tilt,
        padded=True,
    )
    if stack.missing > config.max_missing * stack.slices:
        raise ScanError("missing slices", f"{stack.missing} of {stack.slices}")
    return stack, ordered


def _without_copies(slices: Sequence[Slice], kinds: Kinds) -> list[Slice]:
    """Leave out slices that were sent twice under other UIDs: of one kind, at one place, with the same pixels."""
    kept: dict[tuple[object, ...], list[Slice]] = {}
    for piece in slices:
        here = kept.setdefault((piece.position, kinds[piece.instance, piece.position]), [])
        if not any(_same_pixels(piece, other) for other in here):
            here.append(piece)
    return [piece for here in kept.values() for piece in here]


def _same_pixels(first: Slice, second: Slice) -> bool:
    one, other = next(planes_hu([first])), next(planes_hu([second]))
    return np.array_equal(one, other, equal_nan=True)


def _check_one_kind(
    positions: npt.NDArray[np.float64], orientation: npt.NDArray[np.float64], kinds: Sequence[tuple[str, ...]]
) -> None:
    """Refuse a series whose slices are of several acquisitions, reconstructions or phases that cover one another.

    Acquisitions that follow each other along the patient are one scan, unless their reconstruction differs.

    Raises:
        ScanError: names the tag that tells them apart.
    """
    along = positions @ np.cross(orientation[0], orientation[1])
    order = sorted(range(len(kinds)), key=lambda place: (float(along[place]), kinds[place]))
    for number, keyword in enumerate(APART):
        values = [value for place in order if (value := kinds[place][number])]
        stretches = [value for value, _ in groupby(values)]
        several = len(set(values)) > 1
        if several and (keyword == "ConvolutionKernel" or len(stretches) > len(set(stretches))):
            detail = f"{keyword} differs: several acquisitions, reconstructions or phases under one series UID"
            raise ScanError("mixed series", detail)


def _check_one_pass(seconds: Sequence[float]) -> None:
    """Refuse slices whose times, along the patient, run to and fro: those of two passes, one between the other's.

    Raises:
        ScanError: they do, at more than half of the slices.
    """
    steps = np.diff(np.array(seconds))
    steps = np.sign(steps[np.isfinite(steps) & (steps != 0.0)])
    if np.count_nonzero(steps[1:] != steps[:-1]) > len(seconds) / 2:
        raise ScanError("mixed series", "AcquisitionTime runs to and fro: several acquisitions under one series UID")
