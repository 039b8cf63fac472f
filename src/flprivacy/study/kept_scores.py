"""The score tables that an audit keeps for comparisons with later ones, in MLflow too, hence without pseudonyms."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flprivacy.auditing.anonymous import anonymous, anonymous_members
from flprivacy.core.artifacts import MEMBERSHIP_FOLDER, SCORES_FOLDER
from flprivacy.core.audit import Audit
from flprivacy.core.cohort import Cohort
from flprivacy.core.digests import digest_file
from flprivacy.core.errors import AuditError
from flprivacy.core.membership_scores import MembershipScores
from flprivacy.core.scores import ScoreTable

_OF_ATTRIBUTES, _OF_MEMBERS = "scores", "membership_scores"  # in an audit's provenance: name -> digest


def keep_scores(
    tables: Iterable[ScoreTable], members: Iterable[MembershipScores], cohort: Cohort, audit: Path
) -> dict[str, Any]:
    """Write tables into the folder of an audit, and return what its provenance says of them.

    Args:
        tables: of the attacks on attributes.
        members: of the attacks on membership; those of targets that were not attacked are left out.
        cohort: that all scans come from.
        audit: folder to write to.
    """
    folder = audit / SCORES_FOLDER
    (folder / MEMBERSHIP_FOLDER).mkdir(parents=True, exist_ok=True)
    kept: dict[str, dict[str, str]] = {_OF_ATTRIBUTES: {}, _OF_MEMBERS: {}}
    for table in tables:
        path = folder / f"{table.target}.parquet"
        anonymous(table).write(path)
        kept[_OF_ATTRIBUTES][table.target] = digest_file(path)
    for found in (one for one in members if not one.why_not and one.role != "baseline"):
        path = folder / MEMBERSHIP_FOLDER / f"{found.target}.parquet"
        anonymous_members(found, cohort).write(path)
        kept[_OF_MEMBERS][found.target] = digest_file(path)
    return kept


def kept_scores(folder: Path, audit: Audit) -> list[ScoreTable]:
    """Read the tables of attacks on attributes, which must be those that the audit was made from.

    Raises:
        AuditError: one is missing or another.
    """
    names = sorted(audit.provenance.get(_OF_ATTRIBUTES, {}))
    return [ScoreTable.read(_checked(folder / SCORES_FOLDER, audit, _OF_ATTRIBUTES, name)) for name in names]


def kept_members(folder: Path, audit: Audit, target: str) -> MembershipScores | None:
    """Read the table of attacks on a target's membership; None where an audit kept none, as older ones did not.

    Raises:
        AuditError: it is missing or another.
    """
    if target not in audit.provenance.get(_OF_MEMBERS, {}):
        return None
    return MembershipScores.read(_checked(folder / SCORES_FOLDER / MEMBERSHIP_FOLDER, audit, _OF_MEMBERS, target))


def _checked(folder: Path, audit: Audit, kind: str, name: str) -> Path:
    path = folder / f"{name}.parquet"
    if not path.is_file() or digest_file(path) != audit.provenance[kind][name]:
        raise AuditError(f"{path.name}: the {kind} of {name} in that audit are missing or were changed since")
    return path
