"""A cohort where it lives: looked at without its volumes, and brought here row by row."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from flprivacy.cohorts.format import open_manifest, verify_cohort
from flprivacy.cohorts.manifest import MANIFEST_FILE
from flprivacy.cohorts.metadata import META_FILE
from flprivacy.cohorts.sampling import exposed_rows
from flprivacy.cohorts.selection import local_places, write_selection
from flprivacy.cohorts.volumes import HEAD_BYTES, check_shard_name, shard_header, shard_layout
from flprivacy.core.cohort import TEST, TRAIN, Cohort, CohortMeta
from flprivacy.core.digests import digest_json
from flprivacy.core.errors import AttackError, CohortError, ConfigError, StorageError
from flprivacy.storage.download import fetch_files
from flprivacy.storage.fetch import Moved, fetch
from flprivacy.storage.objects import MissingObjectError, ObjectStat, ObjectStore, open_objects
from flprivacy.storage.ranges import Block
from flprivacy.storage.upload import upload_files
from flprivacy.storage.uris import join

_LARGEST = {META_FILE: 1 << 20, MANIFEST_FILE: 1 << 30}  # bytes that can be right
SPLITS = (TRAIN, TEST)
_REMEDY = "publish the whole cohort there, not one that was pulled in part"

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceCohort:
    """What is known of a cohort without reading its volumes.

    Attributes:
        uri: its folder.
        store: where that is.
        meta: contents of its ``cohort.json``.
        manifest: its manifest, checked against the digest.
        objects: name within the folder -> what is known of metadata, manifest and every shard.
    """

    uri: str
    store: ObjectStore
    meta: CohortMeta
    manifest: pd.DataFrame
    objects: dict[str, ObjectStat]

    @property
    def version(self) -> str:
        """Digest of the cohort's own and of the version of every object: another one after any change."""
        objects = sorted([name, stat.size, stat.version] for name, stat in self.objects.items())
        return digest_json({"cohort": self.meta.digest, "objects": objects})


def look_at_cohort(uri: str, store: ObjectStore | None = None) -> SourceCohort:
    """Read a cohort's metadata and manifest, and ask for the version of every shard.

    Raises:
        CohortError: metadata or manifest break the format's rules.
        StorageError: an object is missing or cannot be read.
    """
    store = store or open_objects(uri)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        objects = {name: store.stat(join(uri, name)) for name in (META_FILE, MANIFEST_FILE)}
        for name, stat in objects.items():
            if stat.size > _LARGEST[name]:
                raise CohortError(
                    f"{stat.uri}: has {stat.size} bytes, at most {_LARGEST[name]} can be right; restore it"
                )
        fetch_files(store, objects, folder, description="reading the manifest")
        with _named(uri, folder):
            meta, manifest = open_manifest(folder)
    shards = sorted(map(str, manifest["shard"].unique()))
    for shard in shards:
        check_shard_name(shard, uri)
    stats = store.in_parallel(lambda shard: _stat_shard(store, join(uri, shard)), shards)
    objects |= dict(zip(shards, stats, strict=True))
    return SourceCohort(uri=uri, store=store, meta=meta, manifest=manifest, objects=objects)


def _stat_shard(store: ObjectStore, uri: str) -> ObjectStat:
    try:
        return store.stat(uri)
    except MissingObjectError as error:
        raise MissingObjectError(f"{uri}: the manifest names it, and there is none; {_REMEDY}") from error


def needed_rows(
    source: SourceCohort, *, fractions: Sequence[float], seeds: Sequence[int], splits: Sequence[str]
) -> Rows:
    """Return the rows that an audit reads, ascending: exposed ones of any seed, and held-out ones.

    Args:
        source: the cohort.
        fractions: exposed fractions; the largest counts, as samples are nested. Empty: all training scans.
        seeds: attacker seeds. Empty: all training scans.
        splits: ``train``, ``test`` or both.

    Raises:
        ConfigError: an unknown split, or a fraction or seed out of range.
        CohortError: no scan is in these splits.
        AttackError: a site without training scan.
    """
    if not splits or set(splits) - set(SPLITS):
        raise ConfigError(f"splits is {list(splits)!r}; choose from {', '.join(SPLITS)}")
    cohort = Cohort(meta=source.meta, manifest=source.manifest, folder=Path(source.uri))
    chosen = [cohort.rows(TEST)] if TEST in splits else []
    if TRAIN in splits and (not len(fractions) or not len(seeds)):
        chosen.append(cohort.rows(TRAIN))
    elif TRAIN in splits:
        with _named(source.uri, cohort.folder):
            chosen += [exposed_rows(cohort, fraction=max(fractions), seed=seed) for seed in seeds]
    rows = np.unique(np.concatenate(chosen))
    if not len(rows):
        raise CohortError(f"{source.uri}: holds no scan in split {' or '.join(splits)}; split the patients again")
    return rows


def bring_rows(source: SourceCohort, rows: Rows, *, work: Path, folder: Path) -> Moved:
    """Fill a folder with the cohort, with the volumes of ``rows`` and no others.

    Args:
        source: the cohort.
        rows: (n,) row numbers, ascending.
        work: keeps volumes that an interrupted call brought; they are hashed again and kept.
        folder: empty, on the disk of ``work``.

    Raises:
        CohortError: a shard is of another type or shape, or too short.
        StorageError: an object cannot be read, changed meanwhile, or a volume stays unlike its hash.
    """
    chosen = source.manifest.iloc[rows]
    counts = chosen["shard"].value_counts(sort=False)
    headers = {str(name): shard_header(int(count), source.meta.shape) for name, count in counts.items()}
    blocks = _blocks(source, rows, headers, work)
    moved = fetch(source.store, blocks, description=f"pulling {len(rows)} volumes")
    heads = sum(min(HEAD_BYTES, source.objects[name].size) for name in headers)
    for name, header in headers.items():
        with (work / name).open("r+b") as stream:
            stream.write(header)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(work / name, folder / name)
    write_selection(folder, meta=source.meta, manifest=source.manifest, rows=rows)
    return replace(moved, moved_bytes=moved.moved_bytes + heads)


def _blocks(source: SourceCohort, rows: Rows, headers: dict[str, bytes], work: Path) -> list[Block]:
    """Return where each row's volume is and where it goes."""
    offsets = _offsets(source, sorted(headers))
    size = int(np.prod(source.meta.shape))
    places = local_places(source.manifest, rows)[rows]
    chosen = source.manifest.iloc[rows]
    columns = (chosen["shard"].tolist(), chosen["row"].tolist(), chosen["sha256"].tolist(), places.tolist())
    return [
        Block(
            source=source.objects[shard],
            start=offsets[shard] + row * size,
            size=size,
            path=work / shard,
            offset=len(headers[shard]) + place * size,
            checksum=f"sha256:{sha256}",
            label=f"volume {row}",
        )
        for shard, row, sha256, place in zip(*columns, strict=True)
    ]


def _offsets(source: SourceCohort, shards: Sequence[str]) -> dict[str, int]:
    """Return the bytes before the first volume of each shard, after checking that it holds every row asked of it."""
    highest = source.manifest.groupby("shard")["row"].max()

    def check(shard: str) -> int:
        stat = source.objects[shard]
        head = source.store.read(stat, 0, min(HEAD_BYTES, stat.size))
        scans, offset = shard_layout(head, stat.size, source.meta.shape, stat.uri)
        if highest[shard] >= scans:
            raise CohortError(
                f"{stat.uri}: holds {scans} volumes, the manifest points to row {highest[shard]}; {_REMEDY}"
            )
        return offset

    return dict(zip(shards, source.store.in_parallel(check, shards), strict=True))


@contextmanager
def _named(uri: str, folder: Path) -> Iterator[None]:
    """Let errors about a local copy name the place that it came from."""
    try:
        yield
    except (CohortError, AttackError) as error:
        raise type(error)(str(error).replace(str(folder), uri.rstrip("/"))) from error
    except StorageError as error:
        raise StorageError(str(error).replace(str(folder), uri.rstrip("/"))) from error


def push_cohort(*, folder: Path, uri: str) -> int:
    """Publish a cohort below a URI, whole or not at all, and return the bytes sent.

    Every volume is hashed first. An interrupted call carries on; a cohort that is there already is never changed.

    Raises:
        CohortError: the cohort is damaged, or was itself pulled in part.
        StorageError: another cohort is published there; or it may not be written.
    """
    cohort = verify_cohort(folder)
    if cohort.places is not None:
        raise CohortError(f"{folder}: holds only the volumes that were pulled; publish the whole cohort")
    names = [META_FILE, MANIFEST_FILE, *map(str, cohort.manifest["shard"].unique())]
    return upload_files(folder, names, uri, last=META_FILE)
