"""A scan that is left out, and what the parsers of foreign files throw at damaged ones."""

import csv
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from pydicom.errors import BytesLengthException, InvalidDicomError

from flprivacy.core.errors import CohortError

# What pydicom, nibabel, NumPy and the standard library raise on bytes that are not what they seem. Their messages may
# quote an identifier, so none of them is passed on.
DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
    csv.Error,
    struct.error,
    zlib.error,
    BytesLengthException,
    HeaderDataError,
    ImageFileError,
    InvalidDicomError,
    WrapStructError,
)


class ScanError(CohortError):
    """One scan or file that cannot be taken; the import goes on without it.

    Attributes:
        reason: a few words that are the same for all scans left out for it.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


@contextmanager
def refusing(reason: str, detail: str = "") -> Iterator[None]:
    """Turn whatever a parser raises on foreign bytes into :class:`ScanError`, without the parser's words."""
    try:
        yield
    except CohortError:
        raise
    except DAMAGE as error:
        # ``from None``: the parser's message must not appear in a traceback either.
        raise ScanError(reason, detail or type(error).__name__) from None
