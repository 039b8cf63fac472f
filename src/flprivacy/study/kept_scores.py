"""What later audits find of an earlier one: a key of what was audited and how, so that none is made twice; and score
tables to compare with, which are in MLflow too, hence without pseudonyms.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flprivacy.attacks.config import AttackConfig
from flprivacy.auditing.anonymous import anonymous, anonymous_members
from flprivacy.core.artifacts import MEMBERSHIP_FOLDER, SCORES_FOLDER
from flprivacy.core.audit import Audit
from flprivacy.core.cohort import Cohort
from flprivacy.core.digests import digest_file, digest_json
from flprivacy.core.errors import AuditError
from flprivacy.core.membership_scores import MembershipScores
from flprivacy.core.parsing import to_mapping
from flprivacy.core.scores import ScoreTable
from flprivacy.core.target_source import CUSTOM
from flprivacy.core.vocabulary import BASELINE_TOPOLOGIES, PRETRAINED, SITES
from flprivacy.storage.code_fingerprint import fingerprint_of_kind
from flprivacy.study.config import StudyConfig
from flprivacy.study.plan import own_baseline

_OF_ATTRIBUTES, _OF_MEMBERS = "scores", "membership_scores"  # in an audit's provenance: name -> digest
# These change speed, or choose among attacks; an attack that both audits ran is the same without them.
_NOT_OF_ONE_ATTACK = ("attributes", "accesses", "fractions", "seeds", "extraction_batch_size")


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


def audit_key(*, target: str, cohort_digest: str, target_digest: str, architecture: str, study: StudyConfig) -> str:
    """Return a digest of what is audited, with what (baselines of its architecture), and how.

    The versions of code and libraries are not part of it: a schedule does not audit everything again after an upgrade.
    """
    baselines = sorted(
        digest_json({k: v for k, v in to_mapping(config).items() if k != "weights" or config.topology == PRETRAINED})
        for name, config in study.targets.items()
        if config.topology in BASELINE_TOPOLOGIES
        and config.architecture == architecture
        and (architecture != CUSTOM or name == own_baseline(target))
    )
    references = {"references": study.membership.of(target), "site_references": study.membership.of(target, SITES)}
    return digest_json(
        {
            "cohort": cohort_digest,
            "target": target_digest,
            "attack": {k: v for k, v in to_mapping(study.attack).items() if k != "extraction_batch_size"},
            "audit": to_mapping(study.audit),
            "protocol": study.protocol,
            "baselines": baselines,
        }
        | {name: count for name, count in references.items() if count}
    )


def attack_identity(attack: AttackConfig, protocol: str) -> dict[str, Any]:
    """Return what two audits must have in common so that the same attack in both is the same.

    Code and libraries are part of it: an attack that got better must not make a model look worse.
    """
    config = {k: v for k, v in to_mapping(attack).items() if k not in _NOT_OF_ONE_ATTACK}
    return {"attack": config, "protocol": protocol, "code": fingerprint_of_kind("scores")}
