"""The header of one DICOM file: what its series shares, and where each of its slices lies."""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from flprivacy.cohorts.importing.dicom_files import BoundedFile, Slice, Stop, Storage, has_preamble, quiet, read_tags
from flprivacy.cohorts.importing.dicom_times import age_of_tags, seconds_of
from flprivacy.cohorts.importing.found import ScanError, refusing
from flprivacy.cohorts.importing.persons import sex_of
from flprivacy.cohorts.importing.stack import MAX_SLICES, check_frame, check_same_geometry

# Tags of which one series has one value, or as many as it has stretches: they tell acquisitions and phases apart.
APART = (
    "ConvolutionKernel", "AcquisitionNumber", "TemporalPositionIdentifier", "ContrastBolusAgent", "ImageType",
    "SeriesNumber", "SeriesDescription", "KVP", "NominalPercentageOfCardiacPhase",
    "NominalPercentageOfRespiratoryPhase",
)  # fmt: skip
_BASIC = (
    "SpecificCharacterSet", "SOPInstanceUID", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate",
    "AcquisitionTime", "Modality", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "GantryDetectorTilt",
    "PatientPosition", "SliceThickness", "StudyInstanceUID", "SeriesInstanceUID", "ImagePositionPatient",
    "ImageOrientationPatient", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns",
    "PixelSpacing", "BitsAllocated", "PixelRepresentation", "BitsStored", "HighBit", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "RescaleIntercept", "RescaleSlope", "RescaleType", "ModalityLUTSequence", *APART,
)  # fmt: skip
_UNDEFINED_LENGTH = 0xFFFFFFFF
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


@dataclass(frozen=True, kw_only=True)
class Header:
    """What slices of a series share, or may differ in. Identifiers do not show in its text form."""

    patient: str = field(repr=False)
    study: str = field(repr=False)
    series: str = field(repr=False)  # SeriesInstanceUID
    localizer: bool  # whether this is a survey image
    rows: int  # pixels down a slice
    columns: int  # pixels across a slice
    orientation: tuple[float, ...]  # directions of increasing column and of increasing row, in patient coordinates
    spacing_mm: tuple[float, float]  # distance between rows and between columns
    sex: str | None  # ``F``, ``M`` or None
    age_years: float | None  # from PatientAge, or from the dates of birth and study
    values: tuple[str, ...] = field(default=(), repr=False)  # values of further tags that were asked for
    tilt_degrees: float = 0.0  # GantryDetectorTilt; 0 where not given
    patient_position: str = ""  # such as ``HFS``; empty where not given
    placeholder_age: bool = False  # an age, or date of birth, that anonymisers write
    apart: tuple[str, ...] = field(default=("",) * len(APART), repr=False)  # values of APART; empty where not given


def read_header(path: Path, keywords: Sequence[str] = ()) -> tuple[Header, tuple[Slice, ...]]:
    """Read the header of a DICOM file, with the values of further ``keywords``.

    Returns:
        What its series shares, and its slices: one, or one a frame.

    Raises:
        ScanError: the file is damaged, or no CT slice with a place in the patient.
    """
    with quiet(), refusing("damaged DICOM header"):
        bare = not has_preamble(path)
        syntax = None if bare else read_file_meta_info(path).get("TransferSyntaxUID")
        if syntax == DeflatedExplicitVRLittleEndian:
            raise ScanError("deflated DICOM file", "its size cannot be bounded; write it again without")
        with BoundedFile(path, header=True) as stream:
            stop = Stop(groups=True)
            basic = read_tags(stream, stop, (*_BASIC, *keywords))
            if bare:
                syntax = _native_syntax(basic)
            if _text(basic, "Modality").upper() != "CT":
                raise ScanError("not CT")
            frames = int(basic.get("NumberOfFrames") or 1)
            if not 1 <= frames <= MAX_SLICES:
                raise ScanError("absurd dimensions", f"{frames} frames")
            groups = Dataset()
            if stop.before_groups:
                stream.seek(0)
                stream.allow(frames)
                stop = Stop(groups=False)
                groups = read_tags(stream, stop, _GROUPS)
            if bare and stop.pixel_bytes == _UNDEFINED_LENGTH:
                raise ScanError("compressed DICOM file without preamble", "how it is compressed is not said")
            held = min(stop.pixel_bytes, max(0, stream.size - stream.tell()))
        return _parse(basic, groups, _Origin(path, stream.stamp, frames, held, syntax, bare), keywords)


@dataclass(frozen=True)
class _Origin:
    """What is known of a file beside its tags: ``held`` bytes follow its header, at most those of the pixels."""

    path: Path
    stamp: int
    frames: int
    held: int
    syntax: UID | None
    bare: bool  # without preamble and syntax of its own


def _parse(
    basic: Dataset, groups: Dataset, origin: _Origin, keywords: Sequence[str]
) -> tuple[Header, tuple[Slice, ...]]:
    if not all(basic.get(keyword) for keyword in ("Rows", "Columns", "BitsAllocated")):
        raise ScanError("no image")
    rows, columns, frames = int(basic.Rows), int(basic.Columns), origin.frames
    shared = _first(groups, "SharedFunctionalGroupsSequence")
    per_frame: Sequence[Dataset] = groups.get("PerFrameFunctionalGroupsSequence") or [Dataset()] * frames
    if len(per_frame) != frames:
        raise ScanError("frames and their descriptions differ in number")
    places = [_Frame(basic, shared, part) for part in per_frame]
    orientation, spacing = places[0].orientation, places[0].spacing_mm
    for place in places:
        check_same_geometry(orientation, spacing, place.orientation, place.spacing_mm)
    check_frame(np.array(orientation).reshape(2, 3), spacing, rows, columns)
    _check_pixels(basic, rows * columns * frames, origin)
    age, placeholder = age_of_tags(partial(_text, basic))
    storage = _storage(basic, origin)
    header = Header(
        patient=_text(basic, "PatientID"),
        study=_text(basic, "StudyInstanceUID"),
        series=_text(basic, "SeriesInstanceUID"),
        localizer=any("LOCALIZER" in kind for kind in places[0].image_type),
        rows=rows,
        columns=columns,
        orientation=orientation,
        spacing_mm=spacing,
        sex=sex_of(_text(basic, "PatientSex")) or None,
        age_years=age,
        values=tuple(_text(basic, keyword) for keyword in keywords),
        tilt_degrees=_number(basic.get("GantryDetectorTilt")) or 0.0,
        patient_position=_position(basic),
        placeholder_age=placeholder,
        apart=tuple(_text(basic, keyword) for keyword in APART),
    )
    instance = _text(basic, "SOPInstanceUID") or str(origin.path)
    return header, tuple(
        Slice(
            path=origin.path,
            frame=number,
            position=place.position,
            slope=place.slope,
            intercept=place.intercept,
            instance=_number_of(instance, number),
            stamp=origin.stamp,
            storage=storage,
            seconds=seconds_of(_text(basic, "AcquisitionTime")) if origin.frames == 1 else math.nan,
        )
        for number, place in enumerate(places)
    )


class _Frame:
    """Geometry of one frame: in its own functional groups, in those shared by all, or in the file's header."""

    def __init__(self, basic: Dataset, shared: Dataset, own: Dataset) -> None:
        def find(sequence: str, keyword: str) -> Any:
            for place in (_first(own, sequence), _first(shared, sequence), basic):
                if place.get(keyword) not in (None, ""):
                    return place.get(keyword)
            return None

        def numbers(sequence: str, keyword: str, count: int) -> list[float] | None:
            with refusing("damaged DICOM header", f"{keyword} cannot be read"):
                return _numbers(find(sequence, keyword), count)

        position = numbers("PlanePositionSequence", "ImagePositionPatient", 3)
        orientation = numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6)
        spacing = numbers("PixelMeasuresSequence", "PixelSpacing", 2)
        if position is None or orientation is None or spacing is None:
            told = {"ImagePositionPatient": position, "ImageOrientationPatient": orientation, "PixelSpacing": spacing}
            lacking = " and ".join(name for name, values in told.items() if values is None)
            raise ScanError("no position, orientation or pixel spacing", f"no {lacking}")
        with refusing("damaged DICOM header", "RescaleSlope or RescaleIntercept cannot be read"):
            slope = _number(find("PixelValueTransformationSequence", "RescaleSlope"))
            intercept = _number(find("PixelValueTransformationSequence", "RescaleIntercept"))
        unit = str(find("PixelValueTransformationSequence", "RescaleType") or "HU").strip().upper()
        absent = [name for name, value in (("RescaleSlope", slope), ("RescaleIntercept", intercept)) if value is None]
        if absent:
            raise ScanError("no rescale to HU", f"no {' and '.join(absent)}")
        if slope is None or intercept is None or not 0.0 < slope < 1e3 or abs(intercept) > 1e5:
            raise ScanError("no rescale to HU")
        if unit not in ("HU", "US", "HU_MOD"):
            raise ScanError("not in HU")
        kinds = find("CTImageFrameTypeSequence", "FrameType") or basic.get("ImageType") or ()
        self.position = (position[0], position[1], position[2])
        # Rounded, so that slices whose texts differ in the last digit share one record.
        self.orientation = tuple(round(value, 4) for value in orientation)
        self.spacing_mm = (round(spacing[0], 5), round(spacing[1], 5))
        self.slope, self.intercept = slope, intercept
        self.image_type = tuple(str(kind).upper() for kind in ([kinds] if isinstance(kinds, str) else kinds))


def _number_of(instance: str, frame: int) -> int:
    """Return a number that is the same for copies, whichever process reads them (``hash`` is another in each)."""
    return int.from_bytes(blake2b(f"{frame} {instance}".encode("utf-8", "surrogatepass"), digest_size=8).digest())


def _check_pixels(basic: Dataset, voxels: int, origin: _Origin) -> None:
    if (
        # MONOCHROME1 says how to show values; what they mean, and their HU, are the same.
        _text(basic, "PhotometricInterpretation").upper() not in ("MONOCHROME1", "MONOCHROME2")
        or int(basic.get("SamplesPerPixel") or 1) != 1
    ):
        raise ScanError("not a grey-scale image")
    if basic.get("ModalityLUTSequence"):
        raise ScanError("rescaled by a table", "only slope and intercept are read")
    bits = int(basic.BitsAllocated)
    if bits not in (8, 16, 32):
        raise ScanError("absurd dimensions", f"{bits} bits a pixel")
    if origin.syntax is not None and origin.syntax.is_encapsulated:
        if not get_decoder(origin.syntax).is_available:
            raise ScanError("no decoder installed", origin.syntax.name)
    elif voxels * bits // 8 > origin.held:  # pydicom would read on behind the end of pixels that are too few
        raise ScanError("truncated pixel data", f"{origin.held} bytes for {voxels} pixels of {bits} bits")


def _storage(basic: Dataset, origin: _Origin) -> Storage:
    """Return how the pixels of a file are stored, or refuse what contradicts itself."""
    allocated = int(basic.BitsAllocated)
    stored = int(basic.get("BitsStored") or allocated)
    high = stored - 1 if basic.get("HighBit") is None else int(basic.HighBit)
    if not 1 <= stored <= high + 1 <= allocated:
        raise ScanError("HighBit contradicts BitsStored", f"{high} and {stored} of {allocated} bits")
    shift = high + 1 - stored
    if shift and origin.syntax is not None and origin.syntax.is_encapsulated:
        raise ScanError("HighBit contradicts BitsStored", f"{high} and {stored}, in compressed pixels")
    ends = [value for name in ("PixelPaddingValue", "PixelPaddingRangeLimit") if (value := basic.get(name)) is not None]
    ends = [
        _as_stored(int(value), allocated, signed=bool(basic.get("PixelRepresentation")))
        for value in ends
        if value != ""
    ]
    padding = (min(ends), max(ends)) if ends and basic.get("PixelPaddingValue") not in (None, "") else None
    return _one_record(Storage(padding, shift, high, origin.syntax if origin.bare else None))


@lru_cache(maxsize=256)
def _one_record(storage: Storage) -> Storage:
    """Return one record for all files that store pixels alike; there are many files."""
    return storage


def _as_stored(value: int, bits: int, *, signed: bool) -> int:
    """Return a padding value as pixels hold it: many files write -2000 as 63536, or the other way round."""
    if signed and value >= 1 << (bits - 1):
        return value - (1 << bits)
    return value + (1 << bits) if value < 0 and not signed else value


def _native_syntax(basic: Dataset) -> UID:
    """Return the transfer syntax of a file that does not say it, from how its tags turned out to be written."""
    implicit, little = basic.original_encoding
    return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _first(place: Dataset, sequence: str) -> Dataset:
    items = place.get(sequence)
    return items[0] if items else Dataset()


def _text(place: Dataset, keyword: str) -> str:
    value = place.get(keyword)
    return "" if value is None else unicodedata.normalize("NFC", str(value).strip(" \0"))


def _number(value: Any) -> float | None:
    number = float(value) if value not in (None, "") else None
    return number if number is None or math.isfinite(number) else None


def _numbers(values: Any, count: int) -> list[float] | None:
    if values is None or isinstance(values, str) or len(values) != count:
        return None
    return [float(value) for value in values]


def _position(basic: Dataset) -> str:
    """Return PatientPosition where it is one of the standard's; any other text could be anything."""
    text = _text(basic, "PatientPosition").upper()
    return text if len(text) in (3, 4) and text[:2] in ("HF", "FF") and text[2:] in ("S", "P", "DL", "DR") else ""
