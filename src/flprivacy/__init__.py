"""flprivacy measures what 3D chest-CT models give away about the people they were trained on.

As a library it works on arrays; nothing heavy is imported before it is used (docs/api.md has examples):

- :func:`attack_features`: infer an attribute of scans from a model's features;
- :func:`audit_attribute`: what such an attack proves about the model, held against baselines;
- :func:`audit_epsilon`: lower bounds on epsilon from the scores of canaries;
- :func:`account`: epsilon of recorded DP events.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flprivacy.attacks.arrays import attack_features
    from flprivacy.attacks.config import LearnerConfig
    from flprivacy.auditing.arrays import AttributeResult, audit_attribute
    from flprivacy.auditing.config import AuditConfig, Policy, PolicyRule
    from flprivacy.auditing.epsilon.audit import EpsilonAudit, audit_epsilon
    from flprivacy.core.attributes import AttackKey, Attribute
    from flprivacy.core.audit import ExcessEstimate, MetricEstimate, Verdict
    from flprivacy.core.dp_check import EpsilonBound
    from flprivacy.core.errors import AttackError, AuditError, ConfigError, FlprivacyError
    from flprivacy.privacy.accounting import PrivacySpent, account
    from flprivacy.privacy.events import SampledGaussianSteps

__version__ = "0.1.0"

# Where each public name lives; the imports above say the same to type checkers.
_NAMES = {
    "attacks.arrays": ("attack_features",),
    "attacks.config": ("LearnerConfig",),
    "auditing.arrays": ("AttributeResult", "audit_attribute"),
    "auditing.config": ("AuditConfig", "Policy", "PolicyRule"),
    "auditing.epsilon.audit": ("EpsilonAudit", "audit_epsilon"),
    "core.attributes": ("AttackKey", "Attribute"),
    "core.audit": ("ExcessEstimate", "MetricEstimate", "Verdict"),
    "core.dp_check": ("EpsilonBound",),
    "core.errors": ("AttackError", "AuditError", "ConfigError", "FlprivacyError"),
    "privacy.accounting": ("PrivacySpent", "account"),
    "privacy.events": ("SampledGaussianSteps",),
}
_HOME = {name: home for home, names in _NAMES.items() for name in names}

__all__ = [
    "AttackError",
    "AttackKey",
    "Attribute",
    "AttributeResult",
    "AuditConfig",
    "AuditError",
    "ConfigError",
    "EpsilonAudit",
    "EpsilonBound",
    "ExcessEstimate",
    "FlprivacyError",
    "LearnerConfig",
    "MetricEstimate",
    "Policy",
    "PolicyRule",
    "PrivacySpent",
    "SampledGaussianSteps",
    "Verdict",
    "__version__",
    "account",
    "attack_features",
    "audit_attribute",
    "audit_epsilon",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return __all__
