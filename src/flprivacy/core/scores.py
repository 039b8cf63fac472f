"""ScoreTable: the seam between attacks and auditing.

An attack writes scores, auditing turns them into numbers with intervals; neither knows the other.
A table is kept in memory as blocks, one per attack configuration, and on disk as one Parquet row per scored
scan and configuration.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flprivacy.core.array_types import Float32Array, FloatArray, IntArray, StrArray
from flprivacy.core.artifacts import COMPUTE_FILE, CURVES_FILE, SCORES_FILE
from flprivacy.core.attributes import HELD_OUT, AttackKey
from flprivacy.core.errors import AuditError
from flprivacy.core.publish import publish_file
from flprivacy.core.tensorflow_environment import describe_compute

if TYPE_CHECKING:
    import pandas as pd  # slow to import, and only its name is needed


_META_KEY = b"flprivacy.score_table"
_SCANS = "scans"
_KEY = ("target", "model", "attribute", "access", _SCANS, "fraction", "seed")  # the first columns, in this order
_NAMES = ("scan_id", "patient_id")
_NOTED = (
    "target",
    "target_digest",
    "cohort_digest",
    "role",
    "architecture",
    "left_out",
    "notes",
    "doubt",
    "unconfirmed",
)
CURVE_COLUMNS = ("target", "model", "attribute", "access", "fraction", "seed", "epoch", "metric", "value")


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreBlock:
    """Scores of one attack configuration on held-out scans."""

    attack: AttackKey
    # which of the target's models (a siloed target has one per site, an untrained one per initialisation); ``model``
    # where there is only one
    model: str
    seed: int  # attacker seed; it draws the exposed sample, the initial head and the batches
    scan_ids: StrArray  # (scan,) identifiers within the cohort
    patient_ids: StrArray  # (scan,) pseudonyms; the unit that the bootstrap resamples
    truth: FloatArray  # (scan,) class index as float, or years for ``age_years``
    scores: Float32Array  # (scan, class) probabilities, or (scan, 1) predicted years

    def __post_init__(self) -> None:
        n = len(self.truth)
        if self.scores.ndim != 2 or len(self.scores) != n or len(self.scan_ids) != n or len(self.patient_ids) != n:
            raise AuditError(
                f"scores of {self}: {n} truths, {len(self.scan_ids)} scans, {len(self.patient_ids)} patients and "
                f"scores of shape {self.scores.shape}; all must count the same scans"
            )
        if n == 0 or not np.isfinite(self.scores).all() or not np.isfinite(self.truth).all():
            raise AuditError(f"scores of {self}: empty or with scores that are not finite; look for a diverged attack")

    def __str__(self) -> str:
        return f"{self.attack}, model {self.model!r}, seed {self.seed}"

    @property
    def key(self) -> tuple[AttackKey, str, int]:
        """What tells a block from every other: attack, model and seed."""
        return self.attack, self.model, self.seed


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreTable:
    """All scores of the attacks on one target.

    Raises:
        AuditError: no block, a block of another target, or two blocks with the same key.
    """

    target: str
    target_digest: str  # digest of the target, empty for baselines without a model
    cohort_digest: str  # digest of the cohort that exposed and held-out scans came from
    role: str  # ``target`` or ``baseline``
    architecture: str = ""  # of the target's network, empty for baselines without a model
    class_names: dict[str, tuple[str, ...]]  # attribute -> names of its classes, in the order of the score columns
    # attribute -> held-out scans without a value for it, which were not scored
    left_out: dict[str, int] = field(default_factory=dict)
    # free facts worth a line in the report (tensors matched, protocol ...)
    notes: dict[str, str] = field(default_factory=dict)
    # why these scores cannot clear the target, with what to do about it; empty where nothing speaks against it
    doubt: str = ""
    # what rests on the word of the target's owner alone; empty where nothing does
    unconfirmed: str = ""
    blocks: tuple[ScoreBlock, ...]  # one per attack configuration, at least one, each with a key of its own

    def __post_init__(self) -> None:
        if not self.blocks:
            raise AuditError(f"score table of {self.target!r}: holds no scores; run the attack step again")
        keys = set()
        for block in self.blocks:
            if block.attack.target != self.target:
                raise AuditError(
                    f"score table of {self.target!r}: holds scores of {block.attack.target!r}; keep them apart"
                )
            if block.key in keys:
                raise AuditError(f"score table of {self.target!r}: scores twice for {block}; run the attack step again")
            keys.add(block.key)

    def select(
        self, *, attribute: str, access: str | None = None, fraction: float | None = None, scans: str | None = None
    ) -> Iterator[ScoreBlock]:
        """Yield the blocks of an attribute, optionally of one access, fraction and kind of scans."""
        for block in self.blocks:
            key = block.attack
            same = key.attribute == attribute and access in (None, key.access) and fraction in (None, key.fraction)
            if same and scans in (None, key.scans):
                yield block

    def _meta(self) -> dict[str, Any]:
        names = {k: list(v) for k, v in self.class_names.items()}
        return {k: getattr(self, k) for k in _NOTED} | {"class_names": names}

    def write(self, path: Path) -> None:
        """Write the table atomically as Parquet."""
        table = _rows(self).replace_schema_metadata({_META_KEY: json.dumps(self._meta())})
        with publish_file(path) as partial:
            pq.write_table(table, partial, compression="zstd")

    @classmethod
    def read(cls, path: Path) -> "ScoreTable":
        """Read a table written by :meth:`write`.

        Raises:
            AuditError: the file is missing, damaged, empty or no score table.
        """
        try:
            table = pq.read_table(path, read_dictionary=_NAMES)
            meta = json.loads((table.schema.metadata or {})[_META_KEY])
            names = {k: tuple(v) for k, v in meta.pop("class_names").items()}
            return cls(**meta, class_names=names, blocks=tuple(_blocks(table)))
        except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise AuditError(f"{path}: not a score table ({error}); run the attack step again") from error


def _rows(table: ScoreTable) -> pa.Table:
    """Return one row per scored scan, block after block."""
    blocks = table.blocks
    sizes = np.array([len(block.truth) for block in blocks])
    attacks = [block.attack for block in blocks]
    keys: dict[str, list[Any]] = {name: [getattr(one, name) for one in attacks] for name in _KEY[2:-1]}
    keys["fraction"] = [float(value) for value in keys["fraction"]]  # 1 and 1.0 are the same fraction
    keys |= {"target": [table.target] * len(blocks), "seed": [block.seed for block in blocks]}
    keys["model"] = [block.model for block in blocks]
    columns = {name: _repeated(keys[name], sizes) for name in _KEY}
    for name in ("target_digest", "cohort_digest"):
        columns[name] = _repeated([getattr(table, name)] * len(blocks), sizes)
    for name, of in zip(_NAMES, ("scan_ids", "patient_ids"), strict=True):
        columns[name] = pa.array(np.concatenate([getattr(block, of) for block in blocks]).tolist(), pa.string())
    columns["truth"] = pa.array(np.concatenate([block.truth for block in blocks]))
    widths = np.repeat([block.scores.shape[1] for block in blocks], sizes)
    offsets = np.concatenate([[0], np.cumsum(widths)]).astype(np.int32)
    columns["scores"] = pa.ListArray.from_arrays(offsets, np.concatenate([block.scores.ravel() for block in blocks]))
    return pa.table(columns)


def _repeated(values: Sequence[Any], sizes: IntArray) -> pa.Array:
    """Return a value per block as a column of so many rows each."""
    if not isinstance(values[0], str):
        return pa.array(np.repeat(values, sizes))
    names, codes = np.unique(values, return_inverse=True)
    return pa.DictionaryArray.from_arrays(np.repeat(codes.astype(np.int32), sizes), pa.array(names.tolist()))


def _blocks(table: pa.Table) -> Iterator[ScoreBlock]:
    """Cut the rows into runs of equal keys; :meth:`ScoreTable.write` keeps each block's rows together."""
    if table.num_rows == 0:
        return
    if _SCANS not in table.column_names:  # written before attacks were scored on members too
        table = table.append_column(_SCANS, _repeated([HELD_OUT], np.array([table.num_rows])))
    keys = [np.asarray(table[name].to_numpy(zero_copy_only=False)) for name in _KEY]
    change = np.zeros(table.num_rows, dtype=bool)
    for column in keys:
        change[1:] |= column[1:] != column[:-1]
    starts = np.concatenate([[0], np.flatnonzero(change)])
    ends = np.append(starts[1:], table.num_rows)
    scan_ids, patient_ids = (_names(table[name]) for name in _NAMES)
    truth = table["truth"].to_numpy().astype(np.float64)
    scores = table["scores"].combine_chunks()
    values, offsets = scores.flatten().to_numpy(zero_copy_only=False), scores.offsets.to_numpy()
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        target, model, attribute, access, scans, fraction, seed = (column[start] for column in keys)
        yield ScoreBlock(
            attack=AttackKey(
                target=str(target),
                attribute=str(attribute),
                access=str(access),
                fraction=float(fraction),
                scans=str(scans),
            ),
            model=str(model),
            seed=int(seed),
            scan_ids=scan_ids[start:end],
            patient_ids=patient_ids[start:end],
            truth=truth[start:end],
            scores=values[offsets[start] : offsets[end]].reshape(end - start, -1).astype(np.float32, copy=False),
        )


def _names(column: pa.ChunkedArray) -> StrArray:
    coded = column.unify_dictionaries().combine_chunks()
    names: StrArray = np.asarray(coded.dictionary.to_pylist(), np.str_)[coded.indices.to_numpy()]
    return names


def write_scores(folder: Path, tables: list[ScoreTable], curves: "pd.DataFrame") -> None:
    """Write score tables, a file each, their curves and what their bits depend on into a folder."""
    for table in tables:
        table.write(folder / f"{table.target}.{SCORES_FILE}")
    with publish_file(folder / CURVES_FILE) as partial:
        curves.to_parquet(partial, index=False)
    (folder / COMPUTE_FILE).write_text(describe_compute())


def read_scores(folder: Path) -> tuple[list[ScoreTable], "pd.DataFrame"]:
    """Read what :func:`write_scores` wrote."""
    tables = [ScoreTable.read(path) for path in sorted(folder.glob(f"*.{SCORES_FILE}"))]
    return tables, pq.read_table(folder / CURVES_FILE).to_pandas()
