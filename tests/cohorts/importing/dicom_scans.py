"""DICOM series with known geometry and with recognisable identifiers in every tag that can hold one."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.datadict import dictionary_VM, dictionary_VR, keyword_dict
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)

SECRET = "zqx"  # part of every planted identifier, and of nothing else
LANDMARKS_MM = np.array([[-31.0, 12.0, 20.0], [24.0, -22.0, -8.0], [10.0, 30.0, 34.0]])  # around the centre
HU = (900.0, 1500.0, 2200.0)
_RADIUS_MM = 7.0


def turn(degrees: float, axis: int) -> npt.NDArray[np.float64]:
    """Rotation matrix about one axis."""
    angle = np.radians(degrees)
    matrix = np.eye(3)
    i, j = [a for a in range(3) if a != axis]
    matrix[[i, j], [i, j]] = np.cos(angle)
    matrix[i, j], matrix[j, i] = -np.sin(angle), np.sin(angle)
    return matrix


@dataclass(frozen=True, kw_only=True)
class Scan:
    """A series to write. Directions are columns of ``axes``: of rows' index, of columns' index, and of slices."""

    shape: tuple[int, int, int] = (26, 44, 36)  # slices, rows, columns
    spacing_mm: tuple[float, float, float] = (4.0, 2.5, 3.0)
    slice_direction: tuple[float, float, float] = (0.0, 0.0, 1.0)
    row_direction: tuple[float, float, float] = (0.0, 1.0, 0.0)  # in which the row's index grows
    column_direction: tuple[float, float, float] = (1.0, 0.0, 0.0)
    centre_mm: tuple[float, float, float] = (-7.0, 151.0, -422.0)
    patient: str = f"{SECRET}-patient-0"
    name: str = f"{SECRET}^Person"
    uid: str = ""
    study: str = ""
    sex: str = "F"
    age: str = "063Y"
    slope: float = 1.0
    intercept: float = -1024.0
    tags: dict[str, object] = field(default_factory=dict)

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """(4, 4) from (slice, row, column, 1) to patient coordinates."""
        matrix = np.eye(4)
        directions = np.array([self.slice_direction, self.row_direction, self.column_direction]).T
        matrix[:3, :3] = directions * np.array(self.spacing_mm)
        middle = (np.array(self.shape) - 1) / 2
        matrix[:3, 3] = np.array(self.centre_mm) - matrix[:3, :3] @ middle
        return matrix

    def landmarks(self) -> npt.NDArray[np.float64]:
        """(landmark, 3) in patient coordinates."""
        return np.array(self.centre_mm) + LANDMARKS_MM

    def hu(self) -> npt.NDArray[np.float64]:
        """(slice, row, column): a soft ball at each landmark, in air; in scans too small for them, one."""
        index = np.array(list(np.ndindex(self.shape))).T
        points = (self.affine[:3, :3] @ index + self.affine[:3, 3:]).T
        image = np.full(len(points), -1000.0)
        small = max(np.array(self.shape) * self.spacing_mm) < 2 * np.abs(LANDMARKS_MM).max()
        for centre, height in [(np.array(self.centre_mm), 40.0)] if small else zip(self.landmarks(), HU, strict=True):
            distance = np.linalg.norm(points - centre, axis=1)
            image += (height + 1000.0) * np.exp(-((distance / _RADIUS_MM) ** 2))
        return image.reshape(self.shape)


def turned(scan: Scan, rotation: npt.NDArray[np.float64]) -> Scan:
    """The same patient, scanned along turned axes."""

    def apply(direction: Sequence[float]) -> tuple[float, float, float]:
        x, y, z = (rotation @ np.array(direction)).tolist()
        return x, y, z

    return replace(
        scan,
        slice_direction=apply(scan.slice_direction),
        row_direction=apply(scan.row_direction),
        column_direction=apply(scan.column_direction),
    )


def slice_dataset(scan: Scan, number: int, hu: npt.NDArray[np.float64]) -> Dataset:
    """One slice as a DICOM data set."""
    dataset = _common(scan, hu[number])
    dataset.file_meta = _meta(CTImageStorage)
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(
        entropy_srcs=[scan.uid, str(number)]
    )
    dataset.InstanceNumber = number + 1
    position = scan.affine @ np.array([number, 0, 0, 1])
    dataset.ImagePositionPatient = [f"{value:.4f}" for value in position[:3]]
    dataset.ImageOrientationPatient = [f"{v:.6f}" for v in (*scan.column_direction, *scan.row_direction)]
    dataset.PixelSpacing = [str(scan.spacing_mm[1]), str(scan.spacing_mm[2])]
    dataset.SliceThickness = str(scan.spacing_mm[0])
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = str(scan.slope), str(scan.intercept), "HU"
    dataset.update(_elements(scan.tags))
    return dataset


def write_series(folder: Path, scan: Scan, *, order: Sequence[int] | None = None, compress: bool = False) -> list[Path]:
    """Write the slices of a scan, in files whose names follow ``order`` (slice numbers)."""
    folder.mkdir(parents=True, exist_ok=True)
    hu = scan.hu()
    paths = []
    for place, number in enumerate(range(scan.shape[0]) if order is None else order):
        dataset = slice_dataset(scan, number, hu)
        if compress:
            dataset.compress(RLELossless)
        paths.append(folder / f"IM{place:04d}")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def write_multiframe(path: Path, scan: Scan, *, order: Sequence[int] | None = None) -> Path:
    """Write a scan as one Enhanced CT file, frames in ``order``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hu = scan.hu()
    numbers = list(range(scan.shape[0]) if order is None else order)
    dataset = _common(scan, hu[numbers])
    dataset.file_meta = _meta(EnhancedCTImageStorage)
    dataset.SOPClassUID = EnhancedCTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[scan.uid])
    dataset.NumberOfFrames = len(numbers)
    shared, measures, orientation, values = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [str(scan.spacing_mm[1]), str(scan.spacing_mm[2])]
    orientation.ImageOrientationPatient = [f"{v:.6f}" for v in (*scan.column_direction, *scan.row_direction)]
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = str(scan.slope), str(scan.intercept), "HU"
    shared.PixelMeasuresSequence = Items([measures])
    shared.PlaneOrientationSequence = Items([orientation])
    shared.PixelValueTransformationSequence = Items([values])
    dataset.SharedFunctionalGroupsSequence = Items([shared])
    frames = []
    for number in numbers:
        frame, place = Dataset(), Dataset()
        position = scan.affine @ np.array([number, 0, 0, 1])
        place.ImagePositionPatient = [f"{value:.4f}" for value in position[:3]]
        frame.PlanePositionSequence = Items([place])
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = Items(frames)
    dataset.save_as(path, enforce_file_format=True)
    return path


def plant_everywhere(dataset: Dataset, counter: "itertools.count[int]", secret: str = SECRET) -> None:
    """Put a recognisable text into every tag of the dictionary that can hold one and is not there yet."""
    for tag, keyword in ((tag, keyword) for keyword, tag in keyword_dict.items()):
        kind = dictionary_VR(tag)
        if kind not in ("LO", "SH", "LT", "ST", "UT", "PN", "UC", "UR", "AE", "CS") or tag in dataset:
            continue
        if tag >> 16 <= 0x0008 and tag < 0x00080010:  # file meta and character set
            continue
        text = f"{secret}{next(counter)}"
        dataset.add_new(tag, kind, text.upper() if kind == "CS" else text)
        assert keyword
        assert dictionary_VM(tag)


def _common(scan: Scan, hu: npt.NDArray[np.float64]) -> Dataset:
    dataset = Dataset()
    dataset.PatientID, dataset.PatientName = scan.patient, scan.name
    dataset.PatientSex, dataset.PatientAge = scan.sex, scan.age
    dataset.PatientBirthDate, dataset.StudyDate = "19610203", "20240506"
    dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SeriesInstanceUID = scan.uid or generate_uid(entropy_srcs=[scan.patient])
    dataset.StudyInstanceUID = scan.study or generate_uid(entropy_srcs=[scan.patient, "study"])
    dataset.PatientPosition = "HFS"
    dataset.Rows, dataset.Columns = scan.shape[1:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    stored = np.rint((hu - scan.intercept) / scan.slope).astype("<i2")
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def _elements(tags: dict[str, object]) -> Dataset:
    dataset = Dataset()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


def _meta(kind: str) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = kind
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return meta
