"""Which extra brings a library that is not installed: its absence in one line, where the library is used."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from flprivacy.core.errors import FlprivacyError

_LIBRARIES = {
    "train": ("keras", "tensorflow", "h5py"),
    "onnx": ("onnxruntime", "onnx"),
    "storage": ("boto3", "botocore", "google", "google_crc32c", "requests"),
    "tracking": ("mlflow",),
    "cluster": ("kfp", "kfp_server_api", "kubernetes", "urllib3"),
    "imaging": ("nibabel", "pydicom"),
    "report": ("jinja2", "matplotlib", "PIL"),
}


class MissingExtraError(FlprivacyError):
    """A library is missing that comes with an extra of this package."""


def require_extras(*extras: str) -> None:
    """Refuse before anything starts if libraries of some extras, such as ``cluster``, are not installed.

    Raises:
        MissingExtraError: some are missing.
    """
    missing = [extra for extra in extras if find_spec(_LIBRARIES[extra][0]) is None]
    if missing:
        raise _missing(missing)


@contextmanager
def naming_extras() -> Iterator[None]:
    """Let the import of a missing library name the extra that brings it.

    Raises:
        MissingExtraError: such an import failed in the block.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        extras = [extra for extra, libraries in _LIBRARIES.items() if library in libraries]
        if not extras:
            raise
        raise _missing(extras) from error


def _missing(extras: list[str]) -> MissingExtraError:
    noun = "extra" if len(extras) == 1 else "extras"
    named = ", ".join(repr(extra) for extra in extras)
    return MissingExtraError(f"this needs the {noun} {named}: pip install 'flprivacy[{','.join(extras)}]' (or [all])")
