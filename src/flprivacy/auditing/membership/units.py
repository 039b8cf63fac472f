"""From scans to what an audit is about, scans or patients: checked arrays, members and non-members apart."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flprivacy.auditing.membership.rates import Sample
from flprivacy.core.array_types import BoolArray, FloatArray, IntArray, StrArray
from flprivacy.core.errors import AuditError, check
from flprivacy.core.membership import LEVELS, PATIENT, SCAN
from flprivacy.core.membership_scores import MembershipScores


@dataclass(frozen=True, kw_only=True, eq=False)
class Units:
    """Scans or patients.

    Attributes:
        samples: attack -> scores.
        groups: kind -> names of the groups of the members and of the non-members.
        vulnerability: of members and non-members; None where nobody said it.
        member_names: (member,) pseudonyms.
        n_members: number of members.
        n_non_members: number of non-members.
    """

    samples: dict[str, Sample]
    groups: dict[str, tuple[StrArray, StrArray]]
    vulnerability: Sample | None
    member_names: StrArray
    n_members: int
    n_non_members: int


def units_of(
    members: npt.ArrayLike,
    scores: Mapping[str, npt.ArrayLike],
    *,
    patients: npt.ArrayLike | None,
    level: str,
    groups: Mapping[str, npt.ArrayLike],
    names: npt.ArrayLike | None,
    vulnerability: npt.ArrayLike | None,
) -> Units:
    """Check arrays of scans and cut them into members and non-members, a row a scan or a patient.

    Raises:
        AuditError: as :func:`flprivacy.audit_membership` says.
    """
    check(level in LEVELS, "level", level, f"must be one of {', '.join(LEVELS)}")
    inside = np.asarray(members)
    if inside.ndim != 1 or inside.dtype != bool:
        raise AuditError(
            f"members have shape {inside.shape} and type {inside.dtype}; must be (scan,) bool, whether the target was "
            "trained on each scan"
        )
    if not scores:
        raise AuditError("there are no scores; give those of at least one attack")
    n = len(inside)
    of_patients = np.arange(n).astype(np.str_) if patients is None else _column("patients", patients, n)
    labels = np.arange(n).astype(np.str_) if names is None else _column("names", names, n)
    columns = {kind: _column(f"groups[{kind!r}]", of, n) for kind, of in groups.items()}
    values = {name: _scores(name, one, n) for name, one in scores.items()}
    vulnerable = [] if vulnerability is None else [_scores("vulnerability", vulnerability, n)]
    known, first, index = np.unique(of_patients, return_index=True, return_inverse=True)
    _check_patients(inside, index)
    if level == PATIENT:
        for kind, column in columns.items():
            if (column != column[first][index]).any():
                raise AuditError(f"groups[{kind!r}] differ between scans of a patient; leave them out at level patient")
        values = {name: np.bincount(index, one) / np.bincount(index) for name, one in values.items()}
        vulnerable = [np.bincount(index, one) / np.bincount(index) for one in vulnerable]
        columns = {kind: column[first] for kind, column in columns.items()}
        labels, inside, index = known, inside[first], np.arange(len(known))
    return Units(
        samples={name: _sample(one, inside, index) for name, one in values.items()},
        vulnerability=next((_sample(one, inside, index) for one in vulnerable), None),
        groups={kind: (column[inside], column[~inside]) for kind, column in columns.items()},
        member_names=labels[inside],
        n_members=int(inside.sum()),
        n_non_members=int((~inside).sum()),
    )


def samples_of(table: MembershipScores) -> dict[str, Sample]:
    """Return attack -> scores of the scans of a table.

    Raises:
        AuditError: scores that are not finite, or fewer than 2 patients of either kind.
    """
    return units_of(
        table.members,
        table.scores,
        patients=table.patient_ids,
        level=SCAN,
        groups={},
        names=None,
        vulnerability=None,
    ).samples


def _sample(values: FloatArray, inside: BoolArray, patients: IntArray) -> Sample:
    return Sample(
        members=values[inside],
        non_members=values[~inside],
        member_patients=patients[inside],
        non_member_patients=patients[~inside],
    )


def _column(name: str, values: npt.ArrayLike, n: int) -> StrArray:
    column = np.asarray(values).astype(np.str_)
    if column.shape != (n,):
        raise AuditError(f"{name} have shape {column.shape}; must be ({n},), one for each scan of members")
    return column


def _scores(name: str, values: npt.ArrayLike, n: int) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (n,):
        raise AuditError(f"scores of {name!r} have shape {array.shape}; must be ({n},), one for each scan of members")
    if not np.isfinite(array).all():
        raise AuditError(f"scores of {name!r} hold values that are not finite; look for a diverged model")
    return array


def _check_patients(inside: BoolArray, patients: IntArray) -> None:
    scans, trained = np.bincount(patients), np.bincount(patients, weights=inside)
    both = int(((trained > 0) & (trained < scans)).sum())
    if both:
        raise AuditError(
            f"{both} patient(s) have scans among members and non-members; leave those out that were not trained on: "
            "they are no strangers to the model"
        )
    n_members = int((trained > 0).sum())
    for what, n in (("members", n_members), ("non-members", len(scans) - n_members)):
        if n < 2:
            raise AuditError(f"{n} patient(s) are {what}; an audit needs at least 2 of both, and honest intervals 30")
