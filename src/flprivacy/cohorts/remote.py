"""A cohort where it lives: looked at without its volumes, brought here row by row, and published."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from flprivacy.cohorts.format import VOLUMES_FOLDER, checked_manifest, open_cohort, verify_cohort
from flprivacy.cohorts.manifest import LARGEST_MANIFEST_BYTES, MANIFEST_FILE, cohort_digest
from flprivacy.cohorts.metadata import LARGEST_META_BYTES, META_FILE, parse_meta, write_meta
from flprivacy.cohorts.sampling import exposed_rows, member_rows
from flprivacy.cohorts.selection import ABSENT, local_places, write_selection
from flprivacy.cohorts.volumes import HEAD_BYTES, check_shard_name, shard_header, shard_layout
from flprivacy.core.cohort import TEST, Cohort, CohortMeta
from flprivacy.core.digests import digest_json
from flprivacy.core.errors import CohortError
from flprivacy.core.publish import link_or_copy, publish_folder
from flprivacy.storage.backends.contract import MissingObjectError, ObjectStat
from flprivacy.storage.fetch import Moved, fetch
from flprivacy.storage.objects import ObjectStore, open_objects
from flprivacy.storage.ranges import Block
from flprivacy.storage.transfer import upload_files
from flprivacy.storage.uris import is_remote, join, local_path

_REMEDY = "publish the whole cohort there, not one that was pulled in part"

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class CohortPlace:
    """Where a cohort lies, from its ``cohort.json`` alone."""

    uri: str
    store: ObjectStore  # the storage of that folder
    meta: CohortMeta  # contents of its ``cohort.json``
    objects: dict[str, ObjectStat]  # name within the folder -> what is known of metadata, manifest and shards

    @property
    def version(self) -> str:
        """Digest of the cohort's own and of the version of every object: another one after any change."""
        objects = sorted([name, stat.size, stat.version] for name, stat in self.objects.items())
        return digest_json({"cohort": self.meta.digest, "objects": objects})


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceCohort:
    """What is known of a cohort without reading its volumes."""

    place: CohortPlace  # where it lies, with its metadata
    manifest: pd.DataFrame  # its manifest, checked against the digest
    shards: dict[str, ObjectStat]  # name of each shard that the manifest names -> what is known of it

    def opened(self, folder: Path | None = None, rows: Rows | None = None) -> Cohort:
        """Return it as a cohort of which (n,) ``rows`` are in a folder's shards, where they are in the source's."""
        places = np.full(len(self.manifest), ABSENT, dtype=np.int64)
        if rows is not None:
            places[rows] = self.manifest["row"].to_numpy()[rows]
        return Cohort(
            meta=self.place.meta, manifest=self.manifest, folder=folder or Path(self.place.uri), places=places
        )


def find_cohort(uri: str, store: ObjectStore | None = None) -> CohortPlace:
    """Read a cohort's metadata, and ask for the version of its manifest and of every site's shard.

    Raises:
        CohortError: the metadata break the format's rules.
        StorageError: metadata or manifest are missing or cannot be read.
    """
    store = store or open_objects(uri)
    objects = {META_FILE: store.stat(join(uri, META_FILE))}
    meta = parse_meta(store.read_whole(objects[META_FILE], most=LARGEST_META_BYTES), objects[META_FILE].uri)
    shards = [f"{VOLUMES_FOLDER}/{site}.npy" for site in meta.site_names]  # a site without scans has none
    stats = store.in_parallel(lambda shard: store.find(join(uri, shard)), shards)
    objects[MANIFEST_FILE] = store.stat(join(uri, MANIFEST_FILE))
    objects |= {shard: stat for shard, stat in zip(shards, stats, strict=True) if stat is not None}
    return CohortPlace(uri=uri, store=store, meta=meta, objects=objects)


def look_at_cohort(uri: str, store: ObjectStore | None = None) -> SourceCohort:
    """Find a cohort, and read and check its manifest, once.

    Raises:
        CohortError: metadata or manifest break the format's rules.
        StorageError: an object is missing or cannot be read.
    """
    place = find_cohort(uri, store)
    store = place.store
    if is_remote(uri):
        stat = place.objects[MANIFEST_FILE]
        data = pa.py_buffer(store.read_whole(stat, most=LARGEST_MANIFEST_BYTES))
        manifest = checked_manifest(data, place.meta, stat.uri)
    else:
        manifest = open_cohort(local_path(uri)).manifest
    names = sorted(map(str, manifest["shard"].unique()))
    for name in names:
        check_shard_name(name, uri)
    stats = store.in_parallel(lambda name: place.objects.get(name) or store.find(join(uri, name)), names)
    shards = {name: stat for name, stat in zip(names, stats, strict=True) if stat is not None}
    for name in names:
        if name not in shards:
            raise MissingObjectError(f"{join(uri, name)}: the manifest names it, and there is none; {_REMEDY}")
    return SourceCohort(place=place, manifest=manifest, shards=shards)


def audited_rows(cohort: Cohort, *, fraction: float, seeds: Sequence[int], members: bool = False) -> Rows:
    """Return the rows that an audit reads, ascending: those exposed to the attacker of any seed, and held-out ones;
    with ``members`` also the training scans that attacks are scored on.

    Of exposed fractions the largest is needed alone, as samples are nested.

    Raises:
        ConfigError: a fraction or seed out of range.
        AttackError: a site without training scan.
    """
    exposed = [exposed_rows(cohort, fraction=fraction, seed=seed) for seed in seeds]
    scored = [member_rows(cohort, fractions=(fraction,), seeds=seeds)] if members else []
    return np.unique(np.concatenate([cohort.rows(TEST), *exposed, *scored]))


def bring_rows(source: SourceCohort, rows: Rows, *, work: Path, folder: Path) -> Moved:
    """Fill an empty folder with the cohort, with the volumes of (n,) ascending ``rows`` and no others.

    ``work``, on the same disk, keeps volumes that an interrupted call brought; they are hashed again and kept.

    Raises:
        CohortError: a shard is of another type or shape, or too short.
        StorageError: an object cannot be read, changed meanwhile, or a volume stays unlike its hash.
    """
    chosen = source.manifest.iloc[rows]
    counts = chosen["shard"].value_counts(sort=False)
    headers = {str(name): shard_header(int(count), source.place.meta.shape) for name, count in counts.items()}
    places = local_places(source.manifest, rows)
    blocks = _blocks(source, rows, places, _heads(source, sorted(headers)), headers, work)
    moved = fetch(source.place.store, blocks, description=f"pulling {len(rows)} volumes")
    for name, header in headers.items():
        with (work / name).open("r+b") as stream:
            stream.write(header)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(work / name, folder / name)
    write_selection(folder, meta=source.place.meta, manifest=source.manifest, rows=rows)
    return replace(moved, moved_bytes=moved.moved_bytes + _moved_for(source, headers))


def mirror_rows(source: SourceCohort, rows: Rows, folder: Path) -> Moved:
    """Bring the volumes of (n,) ascending ``rows`` to where they are in the source's own shards, of the same names.

    The shards are sparse files, to which later calls add: what is there is hashed again and kept.

    Raises:
        CohortError, StorageError: as for :func:`bring_rows`.
    """
    names = sorted({str(name) for name in source.manifest["shard"].iloc[rows]})
    fresh = [name for name in names if not (folder / name).exists()]
    heads = _heads(source, names, folder)
    places = np.zeros(len(source.manifest), np.int64)
    places[rows] = source.manifest["row"].to_numpy()[rows]
    blocks = _blocks(source, rows, places, heads, heads, folder)
    sizes = {folder / name: source.shards[name].size for name in heads}
    moved = fetch(source.place.store, blocks, description=f"pulling {len(rows)} volumes", sizes=sizes)
    for name, head in heads.items():
        with (folder / name).open("r+b") as stream:
            stream.write(head)
    return replace(moved, moved_bytes=moved.moved_bytes + _moved_for(source, fresh))


def _moved_for(source: SourceCohort, shards: Iterable[str]) -> int:
    """Return the bytes that were read to know the layout of shards."""
    return sum(min(HEAD_BYTES, source.shards[name].size) for name in shards)


def _blocks(
    source: SourceCohort,
    rows: Rows,
    places: Rows,
    theirs: Mapping[str, bytes],
    ours: Mapping[str, bytes],
    folder: Path,
) -> list[Block]:
    """Return where each row's volume is and where it goes.

    Args:
        source: the cohort.
        rows: (n,) those that are wanted.
        places: (scan,) place of each volume in its shard in the folder.
        theirs: name of each shard -> its first bytes, up to the first volume.
        ours: the same of the shards in the folder.
        folder: where they go.
    """
    size = int(np.prod(source.place.meta.shape))
    chosen = source.manifest.iloc[rows]
    columns = (chosen["shard"].tolist(), chosen["row"].tolist(), chosen["sha256"].tolist(), places[rows].tolist())
    return [
        Block(
            source=source.shards[shard],
            start=len(theirs[shard]) + row * size,
            size=size,
            path=folder / shard,
            offset=len(ours[shard]) + place * size,
            checksum=f"sha256:{sha256}",
            label=f"volume {row}",
        )
        for shard, row, sha256, place in zip(*columns, strict=True)
    ]


def _heads(source: SourceCohort, shards: Sequence[str], mirror: Path | None = None) -> dict[str, bytes]:
    """Return the bytes before the first volume of each shard, after checking that it holds every row asked of it.

    They are read from the ``mirror``, where an earlier call has written them.
    """
    highest = source.manifest.groupby("shard")["row"].max()

    def check(shard: str) -> bytes:
        stat = source.shards[shard]
        head = _first_bytes(mirror / shard) if mirror is not None else b""
        head = head if head[:1].strip(b"\0") else source.place.store.read(stat, 0, min(HEAD_BYTES, stat.size))
        scans, offset = shard_layout(head, stat.size, source.place.meta.shape, stat.uri)
        if highest[shard] >= scans:
            raise CohortError(
                f"{stat.uri}: holds {scans} volumes, the manifest points to row {highest[shard]}; {_REMEDY}"
            )
        return head[:offset]

    return dict(zip(shards, source.place.store.in_parallel(check, shards), strict=True))


def _first_bytes(path: Path) -> bytes:
    """Return the bytes of a file that may hold a shard's header: zeros where its volumes are not all there yet."""
    if not path.is_file():
        return b""
    with path.open("rb") as stream:
        return stream.read(HEAD_BYTES)


def push_cohort(*, folder: Path, uri: str, synthetic: bool = False) -> int:
    """Publish a cohort below a URI, whole or not at all, and return the bytes sent.

    Every volume is hashed first. An interrupted call carries on; a cohort that is there already is never changed.
    One of synthetic scans is published only where ``synthetic`` says so, without its link to the patients' cohort
    (:mod:`flprivacy.cohorts.remote`), and readers there refuse it as they do here.

    Raises:
        CohortError: the cohort is damaged, or was itself pulled in part.
        StorageError: another cohort is published there; or it may not be written.
    """
    cohort = verify_cohort(folder, synthetic=synthetic)
    if cohort.places is not None:
        raise CohortError(f"{folder}: holds only the volumes that were pulled; publish the whole cohort")
    names = [META_FILE, MANIFEST_FILE, *map(str, cohort.manifest["shard"].unique())]
    with TemporaryDirectory(prefix="flprivacy-") as work:
        place = hand_over(folder, Path(work) / "cohort").folder if synthetic else folder
        return upload_files({name: place / name for name in names}, uri, last=META_FILE)


def hand_over(folder: Path, out: Path) -> Cohort:
    """Write a synthetic cohort at ``out`` as it may be published: without the digest of the patients' cohort.

    That digest is an exact function of every patient: whoever has two candidates for the cohort could tell which of
    them a generator was trained on, however private its training was. It stays in the copy that the store keeps. A
    cohort already at ``out`` is replaced.

    Raises:
        CohortError: it is damaged, holds scans of patients, or was itself pulled in part.
        StorageError: ``out`` is not writable.
    """
    cohort = open_cohort(folder, synthetic=True)
    if cohort.places is not None or cohort.meta.synthetic_from is None:
        raise CohortError(f"{folder}: holds only the volumes that were pulled; hand over the whole cohort")
    meta = replace(cohort.meta, synthetic_from=replace(cohort.meta.synthetic_from, cohort=""))
    meta = replace(meta, digest=cohort_digest(cohort.manifest, meta))
    with publish_folder(out) as partial:
        for name in (MANIFEST_FILE, *map(str, cohort.manifest["shard"].unique())):
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(folder / name, partial / name)
        write_meta(partial, meta)
    return replace(cohort, meta=meta, folder=out)
