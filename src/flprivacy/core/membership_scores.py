"""The table that the membership attacks on a target end in: a row a scan."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flprivacy.core.array_types import BoolArray, FloatArray, StrArray
from flprivacy.core.errors import AuditError
from flprivacy.core.publish import publish_file

LINEAGE, SPLIT = "lineage", "split"  # who says who the members are: the target's private part, or the cohort's split
_META_KEY = b"flprivacy"
_SCORE, _VULNERABILITY = "score.", "vulnerability"


@dataclass(frozen=True, kw_only=True, eq=False)
class MembershipScores:
    """Scores of scans that a target was trained on and of scans that it was not.

    Attributes:
        target: its name.
        target_digest: its digest.
        role: ``target`` or ``baseline``.
        members_from: ``lineage``, or ``split`` where nobody stated the members; empty where nothing was attacked.
        why_not: why nothing was attacked; empty where something was.
        references: models that were trained as the target, for the attacks that need them.
        why_no_references: why there are none although they were asked for; empty where nobody asked, or they are there.
        spread: attack -> how much trainings of this recipe differ in what it finds, as its references show
            (:mod:`flprivacy.auditing.membership.retraining`); empty where they are too few.
        scan_ids: (scan,) pseudonyms.
        patient_ids: (scan,) pseudonyms.
        sites: (scan,) names.
        classes: (scan,) names of the disease classes.
        models: (scan,) which of the target's models was asked about a scan.
        members: (scan,) bool, whether it was trained on.
        signals: (scan,) what attacks read (:func:`flprivacy.membership_signal`).
        scores: attack -> (scan,) scores, higher for likelier a member.
        vulnerability: (scan,) how much a model would tell of a scan, said without asking the target: higher for more;
            of no scan where nobody said it.
    """

    target: str
    target_digest: str
    role: str
    members_from: str = ""
    why_not: str = ""
    references: int = 0
    why_no_references: str = ""
    spread: dict[str, float] = field(default_factory=dict)
    scan_ids: StrArray = field(default_factory=lambda: np.empty(0, np.str_))
    patient_ids: StrArray = field(default_factory=lambda: np.empty(0, np.str_))
    sites: StrArray = field(default_factory=lambda: np.empty(0, np.str_))
    classes: StrArray = field(default_factory=lambda: np.empty(0, np.str_))
    models: StrArray = field(default_factory=lambda: np.empty(0, np.str_))
    members: BoolArray = field(default_factory=lambda: np.empty(0, np.bool_))
    signals: FloatArray = field(default_factory=lambda: np.empty(0, np.float64))
    scores: dict[str, FloatArray] = field(default_factory=dict)
    vulnerability: FloatArray = field(default_factory=lambda: np.empty(0, np.float64))

    def write(self, path: Path) -> None:
        """Write the table as Parquet, atomically."""
        meta = {name: getattr(self, name) for name in _FACTS}
        columns = {name: pa.array(getattr(self, name).tolist(), kind) for name, kind in _COLUMNS.items()}
        columns |= {f"{_SCORE}{name}": pa.array(values, pa.float64()) for name, values in self.scores.items()}
        columns |= {_VULNERABILITY: pa.array(self.vulnerability, pa.float64())} if len(self.vulnerability) else {}
        table = pa.table(columns).replace_schema_metadata({_META_KEY: json.dumps(meta).encode()})
        with publish_file(path) as partial:
            pq.write_table(table, partial)

    @classmethod
    def read(cls, path: Path) -> "MembershipScores":
        """Read what :meth:`write` wrote.

        Raises:
            AuditError: the file is missing or holds something else.
        """
        try:
            table = pq.read_table(path)
            facts = json.loads((table.schema.metadata or {})[_META_KEY])
            values: dict[str, Any] = {
                name: np.asarray(table[name].to_pylist(), kind.to_pandas_dtype()) for name, kind in _COLUMNS.items()
            }
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise AuditError(
                f"{path}: no scores of membership attacks ({error}); run the step attack_membership again"
            ) from error
        texts = {name: values[name].astype(np.str_) for name, kind in _COLUMNS.items() if kind == pa.string()}
        attacks = [name for name in table.column_names if name.startswith(_SCORE)]
        scores = {name.removeprefix(_SCORE): table[name].to_numpy().astype(np.float64) for name in attacks}
        if _VULNERABILITY in table.column_names:
            values["vulnerability"] = table[_VULNERABILITY].to_numpy().astype(np.float64)
        return cls(**facts, **(values | texts), scores=scores)


_FACTS = ("target", "target_digest", "role", "members_from", "why_not", "references", "why_no_references", "spread")
_COLUMNS: dict[str, pa.DataType] = {
    "scan_ids": pa.string(),
    "patient_ids": pa.string(),
    "sites": pa.string(),
    "classes": pa.string(),
    "models": pa.string(),
    "members": pa.bool_(),
    "signals": pa.float64(),
}
