"""What an audit of a target depends on, as a digest: the same key, the same audit, so that none is made twice."""

from typing import Any

from flprivacy.attacks.config import AttackConfig
from flprivacy.core.digests import digest_json
from flprivacy.core.parsing import to_mapping
from flprivacy.core.target_source import CUSTOM
from flprivacy.core.vocabulary import BASELINE_TOPOLOGIES, PRETRAINED, SITES
from flprivacy.storage.code_fingerprint import fingerprint_of_kind
from flprivacy.study.config import StudyConfig
from flprivacy.study.plan import own_baseline

# These change speed, or choose among attacks; an attack that both audits ran is the same without them.
_NOT_OF_ONE_ATTACK = ("attributes", "accesses", "fractions", "seeds", "extraction_batch_size")


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
