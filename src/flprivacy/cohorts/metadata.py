"""``cohort.json``: what holds for every scan of a cohort."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path

from flprivacy.core.cohort import SCHEMA_VERSION, CohortMeta
from flprivacy.core.errors import CohortError, ConfigError
from flprivacy.core.parsing import from_mapping, to_mapping
from flprivacy.core.publish import write_json

META_FILE = "cohort.json"
LARGEST_META_BYTES = 1 << 20
_MAX_EDGE_VOXELS = 4096
_SITE_NAME = re.compile(r"\w[\w .+-]{0,99}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MUST_BE_REAL = (
    "{}: holds synthetic scans, which nothing is measured on and nobody was a member of; give a cohort of patients' "
    "scans here. Synthetic ones are for training alone: of a study's targets with 'synthetic'"
)
_MUST_BE_SYNTHETIC = "{}: holds scans of patients; give a synthetic cohort here, as synthesize_cohort writes it"


def read_meta(folder: Path, *, synthetic: bool | None = False) -> CohortMeta:
    """Read and check ``cohort.json``.

    Args:
        folder: the cohort's.
        synthetic: whether it must be a synthetic cohort; None: it may be.

    Raises:
        CohortError: the file is missing, unreadable, of another schema version or contradicts itself; or the cohort is
            synthetic and must not be, or the other way round.
    """
    path = folder / META_FILE
    if not path.is_file():
        raise CohortError(f"{path}: not found, so this is not a cohort; give the folder that holds {META_FILE}")
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST_META_BYTES + 1)
    except OSError as error:
        raise CohortError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    return parse_meta(data, str(path), synthetic=synthetic)


def parse_meta(data: bytes, where: str, *, synthetic: bool | None = False) -> CohortMeta:
    """Read the contents of ``cohort.json``; raises as :func:`read_meta`, naming ``where`` they come from."""
    remedy = "restore the file or write the cohort again"
    if len(data) > LARGEST_META_BYTES:
        raise CohortError(f"{where}: larger than {LARGEST_META_BYTES} bytes, which no cohort's metadata is; {remedy}")
    try:
        mapping = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CohortError(f"{where}: not valid JSON; {remedy}") from error
    if not isinstance(mapping, dict):
        raise CohortError(f"{where}: holds no JSON object; {remedy}")
    version = mapping.get("schema_version")
    if version != SCHEMA_VERSION:
        raise CohortError(
            f"{where}: schema_version is {version!r}, this release reads {SCHEMA_VERSION}; "
            "write the cohort again or use a matching release of flprivacy"
        )
    meta = checked_meta(mapping, where)
    if not _DIGEST.fullmatch(meta.digest):
        raise CohortError(f"{where}: digest is {meta.digest!r}, not 64 hexadecimal digits; write the cohort again")
    if synthetic is not None and synthetic != (meta.synthetic_from is not None):
        raise CohortError(_MUST_BE_SYNTHETIC.format(where) if synthetic else _MUST_BE_REAL.format(where))
    return meta


def write_meta(folder: Path, meta: CohortMeta) -> None:
    """Write ``cohort.json`` atomically."""
    write_json(folder / META_FILE, _written(meta))


def _written(meta: CohortMeta) -> dict[str, object]:
    """Return metadata as they are written; those of scans of patients do not say that they are not synthetic."""
    mapping = to_mapping(meta)
    if meta.synthetic_from is None:
        del mapping["synthetic_from"]
    return mapping


def checked_meta(mapping: Mapping[str, object], where: str) -> CohortMeta:
    """Build metadata from plain values, and check the range of every field but the digest.

    Raises:
        CohortError: a field is missing, unknown, of another type or out of range, or two sites or classes share a
            name.
    """
    try:
        meta = from_mapping(CohortMeta, mapping, where)
    except ConfigError as error:
        raise CohortError(f"{error}; correct the metadata and write the cohort again") from error
    _check_ranges(meta, where)
    return meta


def _check_ranges(meta: CohortMeta, where: str) -> None:
    def need(condition: bool, field: str, value: object, rule: str) -> None:
        if not condition:
            raise CohortError(f"{where}: {field} is {value!r}; {rule}")

    need(bool(meta.name.strip()), "name", meta.name, "give the cohort a name")
    sized = len(meta.shape) == 3 and all(1 <= edge <= _MAX_EDGE_VOXELS for edge in meta.shape)
    need(sized, "shape", meta.shape, f"must be (depth, height, width), each from 1 to {_MAX_EDGE_VOXELS} voxels")
    low, high = meta.window_hu
    need(_finite(meta.window_hu) and low < high, "window_hu", meta.window_hu, "must be (low, high) with low < high")
    spacing = meta.spacing_mm
    if spacing is not None:
        need(_finite(spacing) and min(spacing) > 0, "spacing_mm", spacing, "must be positive millimetres, or null")
    for field, names in (("site_names", meta.site_names), ("class_names", meta.class_names)):
        need(bool(names) and all(name.strip() for name in names), field, names, "must hold non-empty names")
        # Shards are files named after sites, and some file systems ignore case.
        need(len({name.casefold() for name in names}) == len(names), field, names, "must not repeat (case ignored)")
    for name in meta.site_names:
        rule = "shards are named after sites: use letters, digits, spaces and . + - _, at most 100"
        need(_SITE_NAME.fullmatch(name) is not None, "site name", name, rule)
    if (origin := meta.synthetic_from) is not None:
        for field, digest in (("generator", origin.generator), ("cohort", origin.cohort)):
            named = _DIGEST.fullmatch(digest) is not None or (field == "cohort" and not digest)
            need(named, f"synthetic_from.{field}", digest, "must be a digest of 64 hexadecimal digits")


def identity(meta: CohortMeta) -> dict[str, object]:
    """Return what the digest covers of the metadata: all but the cohort's own name and the digest."""
    mapping = _written(checked_meta(to_mapping(meta), "metadata"))
    return {name: value for name, value in mapping.items() if name not in ("name", "digest")}


def _finite(values: tuple[float, ...]) -> bool:
    return all(math.isfinite(value) for value in values)
