"""flprivacy measures what 3D chest-CT models give away about the people they were trained on.

As a library it works on arrays; nothing heavy is imported before it is used (docs/api.md has examples):

- :func:`attack_features`: infer an attribute of scans from a model's features;
- :func:`audit_attribute`: what such an attack proves about the model, held against baselines;
- :func:`membership_lira` and others: was a scan trained on? From signals of the model and of reference models;
- :func:`audit_membership`, :func:`audit_site_membership`, :func:`audit_site_references`: what such attacks prove;
- :func:`audit_epsilon`: lower bounds on epsilon from the scores of canaries;
- :func:`audit_memorisation`: does a generator of synthetic scans copy its patients?
- :func:`density_and_coverage`: are its scans where real ones are, and everywhere there?
- :func:`account`: epsilon of recorded DP events.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flprivacy.attacks.arrays import attack_features
    from flprivacy.attacks.config import LearnerConfig
    from flprivacy.attacks.membership.bavaria import membership_bavaria
    from flprivacy.attacks.membership.lira import membership_lira
    from flprivacy.attacks.membership.rmia import RmiaConfig, membership_rmia
    from flprivacy.attacks.membership.signals import membership_signal
    from flprivacy.attacks.membership.thresholds import (
        membership_calibrated_loss,
        membership_loss,
        membership_population,
        membership_quantile,
    )
    from flprivacy.attacks.membership.white_box import membership_gradient_norm, membership_layers
    from flprivacy.auditing.arrays import AttributeResult, audit_attribute
    from flprivacy.auditing.config import AuditConfig, MembershipAudit, MembershipRule, Policy, PolicyRule
    from flprivacy.auditing.epsilon.audit import EpsilonAudit, audit_epsilon
    from flprivacy.auditing.membership.audit import MembershipResult, audit_membership
    from flprivacy.auditing.membership.site_references import SiteReferencesResult, audit_site_references
    from flprivacy.auditing.membership.sites import SiteMembershipResult, audit_site_membership
    from flprivacy.core.attributes import AttackKey, Attribute
    from flprivacy.core.audit import ExcessEstimate, MetricEstimate, Verdict
    from flprivacy.core.dp_check import EpsilonBound
    from flprivacy.core.errors import AttackError, AuditError, ConfigError, FlprivacyError
    from flprivacy.core.generator_audit import ClosenessTest, Diversity, Memorisation
    from flprivacy.privacy.accounting import PrivacySpent, account
    from flprivacy.privacy.events import SampledGaussianSteps
    from flprivacy.synthesis.checks.diversity import density_and_coverage
    from flprivacy.synthesis.checks.memorisation import audit_memorisation

__version__ = "0.1.0"

# Where each public name lives; the imports above say the same to type checkers.
_NAMES = {
    "attacks.arrays": ("attack_features",),
    "attacks.config": ("LearnerConfig",),
    "attacks.membership.bavaria": ("membership_bavaria",),
    "attacks.membership.lira": ("membership_lira",),
    "attacks.membership.rmia": ("RmiaConfig", "membership_rmia"),
    "attacks.membership.signals": ("membership_signal",),
    "attacks.membership.thresholds": (
        "membership_calibrated_loss",
        "membership_loss",
        "membership_population",
        "membership_quantile",
    ),
    "attacks.membership.white_box": ("membership_gradient_norm", "membership_layers"),
    "auditing.arrays": ("AttributeResult", "audit_attribute"),
    "auditing.config": ("AuditConfig", "MembershipAudit", "MembershipRule", "Policy", "PolicyRule"),
    "auditing.epsilon.audit": ("EpsilonAudit", "audit_epsilon"),
    "auditing.membership.audit": ("MembershipResult", "audit_membership"),
    "auditing.membership.site_references": ("SiteReferencesResult", "audit_site_references"),
    "auditing.membership.sites": ("SiteMembershipResult", "audit_site_membership"),
    "core.attributes": ("AttackKey", "Attribute"),
    "core.audit": ("ExcessEstimate", "MetricEstimate", "Verdict"),
    "core.dp_check": ("EpsilonBound",),
    "core.errors": ("AttackError", "AuditError", "ConfigError", "FlprivacyError"),
    "core.generator_audit": ("ClosenessTest", "Diversity", "Memorisation"),
    "privacy.accounting": ("PrivacySpent", "account"),
    "privacy.events": ("SampledGaussianSteps",),
    "synthesis.checks.diversity": ("density_and_coverage",),
    "synthesis.checks.memorisation": ("audit_memorisation",),
}
_HOME = {name: home for home, names in _NAMES.items() for name in names}

__all__ = [
    "AttackError",
    "AttackKey",
    "Attribute",
    "AttributeResult",
    "AuditConfig",
    "AuditError",
    "ClosenessTest",
    "ConfigError",
    "Diversity",
    "EpsilonAudit",
    "EpsilonBound",
    "ExcessEstimate",
    "FlprivacyError",
    "LearnerConfig",
    "MembershipAudit",
    "MembershipResult",
    "MembershipRule",
    "Memorisation",
    "MetricEstimate",
    "Policy",
    "PolicyRule",
    "PrivacySpent",
    "RmiaConfig",
    "SampledGaussianSteps",
    "SiteMembershipResult",
    "SiteReferencesResult",
    "Verdict",
    "__version__",
    "account",
    "attack_features",
    "audit_attribute",
    "audit_epsilon",
    "audit_membership",
    "audit_memorisation",
    "audit_site_membership",
    "audit_site_references",
    "density_and_coverage",
    "membership_bavaria",
    "membership_calibrated_loss",
    "membership_gradient_norm",
    "membership_layers",
    "membership_lira",
    "membership_loss",
    "membership_population",
    "membership_quantile",
    "membership_rmia",
    "membership_signal",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return __all__
