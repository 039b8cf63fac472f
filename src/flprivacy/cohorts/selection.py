"""A cohort of which only some volumes are here: those that an audit needs.

It is the same cohort: manifest and digest are the whole cohort's, so exposed samples, counts and hashed members are
the whole cohort's too, and results do not depend on which other volumes were fetched. ``present.parquet`` lists the
row numbers whose volumes are here; its own digest, over the cohort's and those numbers, tells one selection from
another. A shard holds the volumes that are here, in the order of their rows in the whole shard.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from flprivacy.cohorts.manifest import write_manifest
from flprivacy.cohorts.metadata import write_meta
from flprivacy.core.cohort import CohortMeta
from flprivacy.core.digests import digest_bytes
from flprivacy.core.errors import CohortError, StorageError

PRESENT_FILE = "present.parquet"
ABSENT = -1
_COLUMN = "number"
_DIGEST_KEY = b"flprivacy.selection"
_REMEDY = "pull the cohort again"

Rows = npt.NDArray[np.int64]


def selection_digest(digest: str, rows: Rows) -> str:
    """Return the digest of a selection: of the cohort's digest and (n,) ascending row numbers."""
    return digest_bytes(digest.encode() + np.ascontiguousarray(rows, dtype="<i8").tobytes())


def local_places(manifest: pd.DataFrame, rows: Rows) -> Rows:
    """Return (scan,) the place of each scan's volume in its local shard, ABSENT for all but (n,) ascending ``rows``."""
    places = np.full(len(manifest), ABSENT, dtype=np.int64)
    chosen = manifest[["shard", "row"]].iloc[rows]
    places[rows] = chosen.groupby("shard", sort=False)["row"].rank(method="first").to_numpy().astype(np.int64) - 1
    return places


def write_selection(folder: Path, *, meta: CohortMeta, manifest: pd.DataFrame, rows: Rows) -> None:
    """Complete a folder whose shards hold the volumes of ``rows``: metadata, manifest and the list of what is here.

    The list is left out where the shards are those of the whole cohort.

    Raises:
        StorageError: a file cannot be written.
    """
    write_manifest(folder, manifest)
    if not np.array_equal(local_places(manifest, rows), manifest["row"].to_numpy()):
        table = pa.table({_COLUMN: pa.array(rows, pa.int64())})
        table = table.replace_schema_metadata({_DIGEST_KEY: selection_digest(meta.digest, rows)})
        path = folder / PRESENT_FILE
        try:
            pq.write_table(table, path, compression="zstd")
        except OSError as error:
            raise StorageError(f"{path}: cannot be written ({error}); free space or choose another folder") from error
    write_meta(folder, meta)


def read_selection(folder: Path, *, meta: CohortMeta, scans: int) -> Rows | None:
    """Return (n,) which of the manifest's ``scans`` rows have their volumes here, ascending; None for a whole cohort.

    Raises:
        CohortError: the list is damaged or of another cohort.
    """
    path = folder / PRESENT_FILE
    if not path.exists():
        return None
    try:
        with pq.ParquetFile(path) as file:
            if file.metadata.num_rows > scans or file.schema_arrow.names != [_COLUMN]:
                raise CohortError(f"{path}: not a list of at most {scans} row numbers; {_REMEDY}")
            column = file.read()[_COLUMN]
            told = (file.schema_arrow.metadata or {}).get(_DIGEST_KEY, b"").decode("latin-1")
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: names that are no UTF-8
        raise CohortError(f"{path}: not a readable Parquet file; {_REMEDY}") from error
    if not pa.types.is_int64(column.type) or column.null_count:
        raise CohortError(f"{path}: holds {column.type} or nulls, not row numbers; {_REMEDY}")
    rows: Rows = column.to_numpy()
    ascending = len(rows) > 0 and rows[0] >= 0 and rows[-1] < scans and bool((np.diff(rows) > 0).all())
    if not ascending or told != selection_digest(meta.digest, rows):
        raise CohortError(f"{path}: not the rows of this cohort that were pulled; {_REMEDY}")
    return rows
