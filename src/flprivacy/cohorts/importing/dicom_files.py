"""DICOM files: tags and pixels, with no more read than a file holds, nor more of a header than is in proportion.

Nothing of pydicom's own words reaches a log or an error: it quotes values.
"""

import io
import logging
import math
import os
import re
import stat
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydicom import config as pydicom_config
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.pixels.utils import iter_pixels
from pydicom.tag import BaseTag
from pydicom.uid import UID

from flprivacy.cohorts.importing.found import ScanError, damage, refusing
from flprivacy.cohorts.importing.stack import AIR_HU, Plane

_GROUP_TAGS = (0x52009229, 0x52009230)
_PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_MAX_HEADER_BYTES, _MAX_ITEMS = 16 << 20, 5000
_MORE_BYTES, _MORE_ITEMS = 8 << 10, 100  # a frame
_ITEM_TAGS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
# The first tag of a file without preamble, 0008,0000 to 0008,0018, with a VR or (implicit) a short length.
_BARE = re.compile(rb"\x08\x00[\x00-\x18]\x00(?:(?:UL|CS|UI|DA|TM)..|[\x00-\xff]\x00\x00\x00)", re.DOTALL)
_ARCHIVES = (b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"BZh", b"\xfd7zXZ")  # as files start
_TAR_AT, _TAR = 257, b"ustar"
_OFFICE = (".xlsx", ".docx", ".pptx", ".odt", ".ods")
_NEAR_AIR_HU = 100.0
_EXCEEDED = "header out of proportion"


class Storage(NamedTuple):
    """How a file stores its pixels."""

    padding: tuple[int, int] | None = None  # lowest and highest stored value that stands for no measurement
    shift: int = 0  # bits below the lowest one of the values
    high_bit: int = 15  # highest bit of the values
    syntax: UID | None = None  # transfer syntax of a file that does not say it


_USUAL = Storage()


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """One slice: where its pixels are, and where it lies."""

    path: Path = field(repr=False)
    frame: int  # number of its frame in the file
    position: tuple[float, float, float]  # (x, y, z) of the centre of its first pixel, in patient coordinates
    slope: float  # of the rescaling to HU
    intercept: float  # of the rescaling to HU
    instance: int = field(repr=False)  # hash of its SOPInstanceUID and frame: the same for a copied file
    stamp: int  # of its file's size and time of change
    storage: Storage = _USUAL
    seconds: float = math.nan  # AcquisitionTime, in seconds of the day


class BoundedFile(io.BufferedReader):
    """A file that gives no more than it holds, and no more of a header than it may have."""

    def __init__(self, path: Path, *, header: bool) -> None:
        super().__init__(io.FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb"))
        status = os.fstat(self.fileno())
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise ScanError("not a regular file")
        self.size = status.st_size
        self.stamp = status.st_mtime_ns + status.st_size
        self._header = header
        self._bytes, self._items = _MAX_HEADER_BYTES, _MAX_ITEMS

    @property
    def exceeded(self) -> bool:
        """Whether more of the header was asked for than is allowed."""
        return self._bytes < 0 or self._items < 0

    def allow(self, frames: int) -> None:
        """Allow the header of so many frames."""
        self._bytes += frames * _MORE_BYTES
        self._items += frames * _MORE_ITEMS

    def read(self, size: int | None = -1) -> bytes:
        """Read at most ``size`` bytes, and never more than are left."""
        left = max(0, self.size - self.tell())
        data = super().read(left if size is None or size < 0 else min(size, left))
        if self._header:
            self._bytes -= len(data)
            self._items -= sum(data.count(tag) for tag in _ITEM_TAGS) if len(data) >= 4 else 0
            if self.exceeded:
                raise ScanError(_EXCEEDED)
        return data


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom from logging or warning: its messages quote values of tags."""
    logger = logging.getLogger("pydicom")
    before, mode = logger.disabled, pydicom_config.settings.reading_validation_mode
    logger.disabled = True
    pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before
        pydicom_config.settings.reading_validation_mode = mode


def is_dicom(path: Path) -> bool:
    """Say whether a file starts as DICOM files do: with a preamble, or at once with the tags of group 8.

    Raises:
        ScanError: it cannot be read, or is no regular file.
    """
    with refusing("unreadable file"), BoundedFile(path, header=False) as stream:
        data = stream.read(_TAR_AT + len(_TAR))
    if data[128:132] == b"DICM":
        return True
    if (data.startswith(_ARCHIVES) or data[_TAR_AT:] == _TAR) and path.suffix.lower() not in _OFFICE:
        raise ScanError("archive", "what is in it is not looked at; unpack it")
    return _BARE.match(data) is not None


def has_preamble(path: Path) -> bool:
    """Say whether a file has the preamble of DICOM files; older scanners and planning systems leave it out."""
    with refusing("unreadable file"), BoundedFile(path, header=False) as stream:
        stream.seek(128)
        return stream.read(4) == b"DICM"


class Stop:
    """Stops reading a header at the pixels, whose length it notes, or for ``groups`` before descriptions of frames."""

    def __init__(self, *, groups: bool) -> None:
        self._groups = _GROUP_TAGS if groups else ()
        self.before_groups = False
        self.pixel_bytes = 0

    def __call__(self, tag: BaseTag, vr: str | None, length: int) -> bool:
        """Return whether to stop before this tag."""
        self.before_groups = int(tag) in self._groups
        if int(tag) in _PIXEL_TAGS:
            self.pixel_bytes = length
        return self.before_groups or int(tag) in _PIXEL_TAGS


def read_tags(stream: BoundedFile, stop: Stop, keywords: Sequence[str]) -> Dataset:
    """Return the tags of these keywords that come before ``stop``.

    Raises:
        ScanError: the header is out of proportion.
    """
    tags = [tag for keyword in keywords if (tag := tag_for_keyword(keyword)) is not None]
    try:
        return read_partial(stream, stop, force=True, specific_tags=[*tags])
    except damage():
        if stream.exceeded:  # pydicom turns what the stream raises into errors of its own
            raise ScanError(_EXCEEDED) from None
        raise


def planes_hu(slices: Sequence[Slice]) -> Iterator[Plane]:
    """Read slices of one series, one at a time, in the order given.

    Yields:
        float32 (rows, columns) in HU; where nothing was measured NaN, or air if that is what its value stands for.

    Raises:
        ScanError: pixels are truncated or damaged.
    """
    for path, pieces in groupby(slices, key=lambda piece: piece.path):
        chosen = list(pieces)
        frames = _stored(path, [piece.frame for piece in chosen], chosen[0].storage)
        for piece in chosen:
            with quiet(), refusing("truncated or damaged pixel data"):
                stored = next(frames, None)
                if stored is None or stored.ndim != 2:
                    raise ValueError
                plane = stored.astype(np.float32) * np.float32(piece.slope) + np.float32(piece.intercept)
                if piece.storage.padding is not None:
                    low, high = piece.storage.padding
                    outside = (stored >= low) & (stored <= high)
                    as_air = np.abs(plane[outside] - AIR_HU) < _NEAR_AIR_HU  # where padding and air are one value
                    plane[outside] = np.where(as_air, np.float32(AIR_HU), np.float32(np.nan))
            yield plane


def _stored(path: Path, frames: Sequence[int], storage: Storage) -> "Iterator[np.ndarray[Any, Any]]":
    """Yield stored values; pydicom takes those whose highest bit is not BitsStored - 1 as if it were."""
    options: dict[str, Any] = {} if storage.syntax is None else {"transfer_syntax_uid": storage.syntax}
    if storage.shift:
        options["bits_stored"] = storage.high_bit + 1
    with BoundedFile(path, header=False) as stream:
        for stored in iter_pixels(stream, indices=list(frames), **options):
            yield stored >> storage.shift if storage.shift else stored
