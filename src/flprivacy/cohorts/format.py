"""The cohort folder: written whole or not at all, checked when opened, read through memory maps.

.. code-block:: text

    cohort.json          metadata and the digest
    manifest.parquet     one row a scan
    volumes/<site>.npy   uint8 (scan, depth, height, width)
    present.parquet      only where some volumes were not fetched: the row numbers of those that are here
"""

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from flprivacy.cohorts.manifest import (
    LOCATION_COLUMNS,
    MANIFEST_FILE,
    check_manifest,
    cohort_digest,
    conform,
    read_manifest,
    write_manifest,
)
from flprivacy.cohorts.metadata import META_FILE, checked_meta, read_meta, write_meta
from flprivacy.cohorts.selection import PRESENT_FILE, local_places, read_selection
from flprivacy.cohorts.volumes import Shard, Volume, append_volume, open_shard, start_shard
from flprivacy.core.cohort import Cohort, CohortMeta
from flprivacy.core.errors import CohortError, StorageError
from flprivacy.core.parsing import to_mapping
from flprivacy.core.progress import progress
from flprivacy.core.publish import publish_folder

__all__ = ["checked_manifest", "cohort_digest", "open_cohort", "read_volumes", "verify_cohort", "write_cohort"]

VOLUMES_FOLDER = "volumes"


def write_cohort(
    folder: Path, *, meta: CohortMeta, manifest: pd.DataFrame, volumes: Iterator[tuple[int, Volume]]
) -> Cohort:
    """Write a cohort folder atomically, in the memory of one volume.

    Args:
        folder: where the cohort goes. A cohort already there is replaced; a folder with anything else is refused.
        meta: metadata; its digest is computed here.
        manifest: one row a scan, columns ``meta.columns`` without ``shard``, ``row`` and ``sha256``.
        volumes: yields (row number, uint8 (depth, height, width)) for rows 0, 1, ... n-1 in that order. It is
            consumed while files are written; whatever it raises leaves nothing behind.

    Returns:
        The cohort as :func:`open_cohort` would give it.

    Raises:
        CohortError: metadata, manifest or a volume breaks the format's rules.
        StorageError: the folder cannot be written, or holds something that is no cohort.
    """
    where = f"manifest for {folder}"
    meta = checked_meta(to_mapping(meta), f"metadata for {folder}")
    rows = conform(manifest, tuple(name for name in meta.columns if name not in LOCATION_COLUMNS), where)
    check_manifest(rows, meta, where)
    _check_replaceable(folder)
    sites = rows["site_id"].to_numpy()
    rows["shard"] = [f"{VOLUMES_FOLDER}/{meta.site_names[site]}.npy" for site in sites]
    rows["row"] = rows.groupby("shard", sort=False).cumcount()
    with publish_folder(folder) as partial:
        rows["sha256"] = _write_volumes(partial, rows, meta, volumes)
        rows = conform(rows, meta.columns, where)
        meta = dataclasses.replace(meta, digest=cohort_digest(rows, meta))
        write_manifest(partial, rows)
        write_meta(partial, meta)
    return Cohort(meta=meta, manifest=rows, folder=folder)


def open_cohort(folder: Path, *, synthetic: bool | None = False) -> Cohort:
    """Open a cohort after every check that needs no volume bytes: schema, values, digest, patient split, shards.

    Damage inside a volume is found by :func:`verify_cohort` alone.

    Args:
        folder: the cohort's.
        synthetic: whether it must be a synthetic cohort; None: it may be. So nothing that asks for scans of patients
            is given others without a word.

    Raises:
        CohortError: names the file, what is wrong with it and what to do.
    """
    meta = read_meta(folder, synthetic=synthetic)
    manifest = checked_manifest(folder / MANIFEST_FILE, meta, str(folder / MANIFEST_FILE))
    rows = read_selection(folder, meta=meta, scans=len(manifest))
    if rows is None:
        for name, highest in manifest.groupby("shard")["row"].max().items():
            _check_row(open_shard(folder, str(name), meta.shape), int(highest))
        return Cohort(meta=meta, manifest=manifest, folder=folder)
    for name, count in manifest["shard"].iloc[rows].value_counts().items():
        shard = open_shard(folder, str(name), meta.shape)
        if shard.scans != count:
            raise CohortError(
                f"{shard.path}: holds {shard.scans} volumes, {PRESENT_FILE} lists {count}; pull the cohort again"
            )
    return Cohort(meta=meta, manifest=manifest, folder=folder, places=local_places(manifest, rows))


def checked_manifest(source: Path | pa.Buffer, meta: CohortMeta, where: str) -> pd.DataFrame:
    """Read a manifest and check it against the metadata, whether or not the volumes are here.

    Raises:
        CohortError: names ``where`` it is, what is wrong with it and what to do.
    """
    manifest = read_manifest(source, where)
    check_manifest(manifest, meta, where)
    if cohort_digest(manifest, meta) != meta.digest:
        raise CohortError(
            f"{where}: its digest is not the one in {META_FILE}, so one of the two was changed after writing; "
            "restore both from one copy or write the cohort again"
        )
    return manifest


def verify_cohort(folder: Path, *, synthetic: bool | None = False) -> Cohort:
    """Open a cohort and hash every volume that is here; arguments are those of :func:`open_cohort`.

    Raises:
        CohortError: as :func:`open_cohort`, or a volume's bytes are not those written; names its shard and row.
    """
    cohort = open_cohort(folder, synthetic=synthetic)
    damaged: list[tuple[Path, int]] = []
    here = cohort.manifest.assign(row=_places(cohort))
    here = here[here["row"] >= 0]
    with progress("verifying volumes", len(here)) as counter:
        for name, rows in here.sort_values(["shard", "row"]).groupby("shard"):
            shard = open_shard(folder, str(name), cohort.meta.shape)
            volumes = shard.map()
            for row, expected in zip(rows["row"].tolist(), rows["sha256"].tolist(), strict=True):
                if hashlib.sha256(volumes[row].data).hexdigest() != expected:
                    damaged.append((shard.path, row))
                counter.advance()
    if damaged:
        path, row = damaged[0]
        raise CohortError(
            f"{path}: volume {row} is damaged, its bytes are not those hashed in the manifest ({len(damaged)} of "
            f"{len(here)} volumes damaged); restore the file from a copy or write the cohort again"
        )
    return cohort


def read_volumes(cohort: Cohort, rows: npt.NDArray[np.integer]) -> Volume:
    """Read volumes through memory maps, in the order asked.

    Args:
        cohort: an opened cohort.
        rows: (n,) row numbers of the manifest; may repeat.

    Returns:
        uint8 (n, depth, height, width).

    Raises:
        CohortError: a row number does not exist, its volume was not fetched, or a shard was changed since the
            cohort was opened.
    """
    rows = _check_rows(rows, len(cohort.manifest))
    out = np.empty((len(rows), *cohort.meta.shape), dtype=np.uint8)
    names = cohort.manifest["shard"].to_numpy()[rows]
    places = _places(cohort)[rows]
    _check_present(cohort, places)
    breaks = (names[1:] != names[:-1]) | (places[1:] != places[:-1] + 1)
    starts = np.concatenate([[0], np.flatnonzero(breaks) + 1]).tolist() if len(rows) else []
    maps: dict[str, tuple[Shard, Volume]] = {}
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=False):
        name, first = names[start], int(places[start])
        if name not in maps:
            # Checked anew on every call: reading beyond a truncated file through a map would kill the process.
            shard = open_shard(cohort.folder, name, cohort.meta.shape)
            maps[name] = (shard, shard.map())
        shard, mapped = maps[name]
        _check_row(shard, first + end - start - 1)
        out[start:end] = mapped[first : first + end - start]
    return out


def _places(cohort: Cohort) -> npt.NDArray[np.int64]:
    """Return (scan,) the place of each volume in its shard, negative where it is not here."""
    return cohort.manifest["row"].to_numpy() if cohort.places is None else cohort.places


def _check_present(cohort: Cohort, places: npt.NDArray[np.int64]) -> None:
    absent = int((places < 0).sum())
    if absent:
        here = int((_places(cohort) >= 0).sum())
        raise CohortError(
            f"{cohort.folder}: holds {here} of the cohort's {len(cohort.manifest)} volumes, and {absent} others are "
            "asked for; pull the cohort with the fractions and seeds of this audit, or whole"
        )


def _check_row(shard: Shard, row: int) -> None:
    if row >= shard.scans:
        raise CohortError(
            f"{shard.path}: holds {shard.scans} volumes, the manifest points to row {row}; "
            "restore the file from a copy or write the cohort again"
        )


def _check_rows(rows: npt.NDArray[np.integer], n: int) -> npt.NDArray[np.int64]:
    rows = np.asarray(rows)
    if rows.ndim != 1 or (rows.size and not np.issubdtype(rows.dtype, np.integer)):
        raise CohortError(f"rows are {rows.dtype} of shape {rows.shape}; give a flat array of integer row numbers")
    if rows.size and (rows.min() < 0 or rows.max() >= n):
        raise CohortError(f"rows go from {rows.min()} to {rows.max()}; the manifest has rows 0 to {n - 1}")
    return rows.astype(np.int64)


def _check_replaceable(folder: Path) -> None:
    """Refuse to replace anything but a cohort, whole or left over from a killed replacement."""
    if not folder.is_symlink() and not folder.exists():
        return
    if folder.is_symlink() or not folder.is_dir():
        raise StorageError(f"{folder}: is a file or a link, not a folder; choose another place for the cohort")
    try:
        names = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise StorageError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from error
    strange = sorted(names - {META_FILE, MANIFEST_FILE, VOLUMES_FOLDER, PRESENT_FILE})
    if strange:
        raise StorageError(f"{folder}: holds {strange[0]!r}, which is no part of a cohort; choose an empty folder")


def _write_volumes(
    folder: Path, rows: pd.DataFrame, meta: CohortMeta, volumes: Iterator[tuple[int, Volume]]
) -> list[str]:
    """Write every shard and return each volume's SHA-256, in the order of the rows."""
    for shard, scans in rows["shard"].value_counts(sort=False).items():
        start_shard(folder / str(shard), int(scans), meta.shape)
    hashes: list[str] = []
    names = rows["shard"].tolist()
    for number, volume in volumes:
        if len(hashes) == len(names) or number != len(hashes):
            raise CohortError(
                f"volumes: got row {number} where {_expected(len(hashes), len(names))}; "
                "yield one volume a manifest row, in the manifest's order"
            )
        data = _check_volume(volume, number, meta.shape)
        hashes.append(hashlib.sha256(data.data).hexdigest())
        append_volume(folder / names[number], data)
    if len(hashes) < len(names):
        raise CohortError(f"volumes: ended after {len(hashes)} of {len(names)} manifest rows; yield one volume a row")
    return hashes


def _expected(done: int, total: int) -> str:
    return f"row {done} comes next" if done < total else f"all {total} rows were written"


def _check_volume(volume: Volume, number: int, shape: tuple[int, int, int]) -> Volume:
    if not isinstance(volume, np.ndarray) or volume.dtype != np.uint8 or volume.shape != shape:
        found = f"{volume.dtype} {volume.shape}" if isinstance(volume, np.ndarray) else type(volume).__name__
        raise CohortError(f"volumes: row {number} is {found}; every volume of this cohort is uint8 {shape}")
    return np.ascontiguousarray(volume)
