"""CT series with recognisable identifiers in every place that can hold one, and the search for them in what is written.

They are in every DICOM tag of the dictionary that the import does not need for geometry, in private tags, in nested
sequences, in binary tags, in names of files and folders, and in columns of the mapping table.
"""

import base64
import gzip
import hashlib
import io
import itertools
import re
import sqlite3
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import pandas as pd
from PIL import Image
from pydicom.datadict import dictionary_VR, keyword_dict
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.cohorts.importing import dicom_scans

SECRET = "zqxplanted"  # long enough to be in no picture or weight by chance
UIDS = "1.2.7777777"
KEY = "pseudonym-key-" + "0123456789" * 3
PATIENTS = 32
SLICES = 6
_SCAN = dicom_scans.Scan(shape=(SLICES, 8, 6), spacing_mm=(8.0, 5.0, 6.0))
_TEXTS = {
    "UI": f"{UIDS}.9",
    "DA": "19610203",
    "DT": "19610203101112",
    "UN": SECRET.encode() * 2,
    "OB": SECRET.encode() * 2,
}
# What the pixels are read with, and what says that a file has several frames.
_GEOMETRY = re.compile(r"Pixel|FunctionalGroups|LUT")

PLANTED = re.compile(
    rb"(?i)" + SECRET.encode() + rb"|" + re.escape(UIDS.encode()) + rb"|" + KEY.encode() + rb"|"
    rb"(?<![0-9a-f.])(?:19610203|1961-02-03|20240506|2024-05-06)(?![0-9a-f])"
)
PSEUDONYM = re.compile(rb"\b[ps]-[0-9a-f]{32}\b")
_EMBEDDED = re.compile(rb"base64,([A-Za-z0-9+/=]{16,})")
_HEXADECIMAL = re.compile(rb"[0-9a-fA-F]{32,}")


def patient(number: int) -> str:
    """Return what a patient is called in tags and table."""
    return f"{SECRET}-id-{number}"


def plant(root: Path) -> Path:
    """Write the patients of two hospitals, five of them damaged, and a table; return the table."""
    everywhere = _everywhere()
    rows = []
    for number in range(PATIENTS):
        rows.append(_write_series(root / f"{SECRET}^{number}" / f"{SECRET}-visit", number, everywhere))
    _damage(root)
    table = root.with_name(f"{SECRET}.csv")
    pd.DataFrame(rows).to_csv(table, index=False)
    return table


def _everywhere() -> Dataset:
    """Return a data set with a planted value in each tag of the dictionary that can hold one."""
    found = Dataset()
    dicom_scans.plant_everywhere(found, itertools.count(), SECRET)
    nested = Dataset()
    nested.PatientID = nested.PatientName = nested.PatientComments = f"{SECRET}-nested"
    nested.private_block(0x0013, f"{SECRET} INC", create=True).add_new(1, "UN", SECRET.encode() * 2)
    for keyword, tag in keyword_dict.items():
        kind = dictionary_VR(tag)
        if tag < 0x00080010 or tag in found or _GEOMETRY.search(keyword):
            continue
        if kind in _TEXTS:
            found.add_new(tag, kind, _TEXTS[kind])
        elif kind == "SQ":
            found.add_new(tag, kind, Sequence([nested]))
    return found


def _write_series(folder: Path, number: int, everywhere: Dataset) -> dict[str, object]:
    scan = replace(
        _SCAN, uid=f"{UIDS}.{number}", study=f"{UIDS}8.{number}", patient=patient(number), name=f"{SECRET}^N"
    )
    folder.mkdir(parents=True)
    hu = scan.hu() + 5.0 * number
    for place in range(SLICES):
        dataset = dicom_scans.slice_dataset(scan, place, hu)
        if place == number % SLICES and number % 4 == 1:  # thousands of tags, in every fourth scan: they take time
            dataset.update({tag: everywhere[tag] for tag in everywhere.keys() - dataset.keys()})
        dataset.InstitutionName = f"{SECRET} hospital {number % 2}"
        dataset.PatientComments = f"{SECRET}: call {SECRET}"
        dataset.private_block(0x0011, f"{SECRET} GMBH", create=True).add_new(1, "LO", f"{SECRET}-private")
        dataset.save_as(folder / f"{SECRET}{place}.dcm", enforce_file_format=True)
    return {
        "patient_id": scan.patient,
        "label": ("normal", "covid")[number // 16 % 2],
        "split": "test" if number % 8 > 5 else "train",
        "sex": "FM"[number // 3 % 2],
        "age_years": 40.0 + number,
        "note": SECRET,
    }


def _damage(root: Path) -> None:
    """Spoil the first five, each in its own way."""

    def files(number: int) -> list[Path]:
        return sorted((root / f"{SECRET}^{number}").rglob("*.dcm"))

    for path in files(0):  # cut in the header
        path.write_bytes(path.read_bytes()[:1500])
    path = files(1)[4]  # cut in the pixels
    path.write_bytes(path.read_bytes()[:-30])
    # PixelSpacing and PatientID are missing, because they have become private tags.
    for number, tag in ((2, b"\x28\x00\x30\x00DS"), (3, b"\x10\x00\x20\x00LO")):
        for path in files(number):
            path.write_bytes(path.read_bytes().replace(tag, b"\x09\x00" + tag[2:], 1))
    for path in files(4):  # a value that does not parse
        raw = path.read_bytes()
        at = raw.index(b"\x20\x00\x32\x00DS")
        path.write_bytes(raw[: at + 8] + SECRET.encode()[:3] + raw[at + 11 :])


def readable(name: str, data: bytes) -> Iterator[bytes]:
    """Yield a file's name and bytes, and what is packed in it: columns, rows, members, attributes, pictures' texts."""
    yield name.encode()
    yield data
    if data.startswith(b"PAR1"):
        frame = pd.read_parquet(io.BytesIO(data))
        yield frame.to_csv().encode()
        yield repr(frame.attrs).encode()
    if data.startswith(b"SQLite format 3"):  # a long value lies in several pages
        with sqlite3.connect(":memory:") as base:
            base.deserialize(data[:18] + b"\1\1" + data[20:])  # one that writes ahead would want its second file
            yield "\n".join(base.iterdump()).encode("utf-8", "surrogateescape")
    if data.startswith(b"\x89HDF"):
        yield _inside_hdf5(data)
    if data.startswith(b"\x89PNG"):
        yield repr(Image.open(io.BytesIO(data)).info).encode()
    if data.startswith(b"\x1f\x8b"):
        yield gzip.decompress(data)
    if data.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for inside in archive.namelist():
                yield from readable(inside, archive.read(inside))
    for found in _EMBEDDED.findall(data):
        yield from readable("embedded", base64.b64decode(found + b"=" * (-len(found) % 4)))


def _inside_hdf5(data: bytes) -> bytes:
    with h5py.File(io.BytesIO(data)) as file:
        found = [repr(dict(file.attrs))]
        file.visititems(lambda name, one: found.append(f"{name} {dict(one.attrs)!r}"))
        arrays: list[h5py.Dataset] = []
        file.visititems(lambda _, one: arrays.append(one) if isinstance(one, h5py.Dataset) else None)
        return "\n".join(found).encode() + b"".join(bytes(array[()].tobytes()) for array in arrays)


def plain_hashes() -> frozenset[bytes]:
    """Return the hashes of identifiers that need no key, by their first 16 digits: whoever guesses an id has them."""
    words = [word for n in range(PATIENTS) for word in (patient(n), f"{UIDS}.{n}", f"{UIDS}8.{n}")]
    kinds = (hashlib.md5, hashlib.sha1, hashlib.sha256, hashlib.blake2b)
    return frozenset(kind(word.encode()).hexdigest()[:16].encode() for word in words for kind in kinds)


def search(texts: "Iterable[tuple[object, str, bytes]]", *patterns: "re.Pattern[bytes]") -> dict[object, bytes]:
    """Return which of (where, name, bytes) hold a pattern, or a plain hash of an identifier, with what was found."""
    found, hashes = {}, plain_hashes()
    for where, name, data in texts:
        for text in readable(name, data):
            for pattern in patterns:
                if hit := pattern.search(text):
                    found[where] = hit[0]
            for token in _HEXADECIMAL.findall(text):
                if token[:16].lower() in hashes:
                    found[where] = token
    return found


def files_below(folder: Path) -> Iterator[tuple[object, str, bytes]]:
    """Yield every file, and every folder for its name."""
    for path in sorted(folder.rglob("*")):
        yield path, path.name, path.read_bytes() if path.is_file() else b""
