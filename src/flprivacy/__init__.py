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
    from flprivacy.attacks.config import LearnerConfig as LearnerConfig
    from flprivacy.attacks.learner import attack_features as attack_features
    from flprivacy.auditing.arrays import AttributeResult as AttributeResult
    from flprivacy.auditing.arrays import audit_attribute as audit_attribute
    from flprivacy.auditing.config import AuditConfig as AuditConfig
    from flprivacy.auditing.config import Policy as Policy
    from flprivacy.auditing.config import PolicyRule as PolicyRule
    from flprivacy.auditing.epsilon.audit import EpsilonAudit as EpsilonAudit
    from flprivacy.auditing.epsilon.audit import audit_epsilon as audit_epsilon
    from flprivacy.core.attributes import AttackKey as AttackKey
    from flprivacy.core.attributes import Attribute as Attribute
    from flprivacy.core.audit import ExcessEstimate as ExcessEstimate
    from flprivacy.core.audit import MetricEstimate as MetricEstimate
    from flprivacy.core.audit import Verdict as Verdict
    from flprivacy.core.dp_check import EpsilonBound as EpsilonBound
    from flprivacy.core.errors import AttackError as AttackError
    from flprivacy.core.errors import AuditError as AuditError
    from flprivacy.core.errors import ConfigError as ConfigError
    from flprivacy.core.errors import FlprivacyError as FlprivacyError
    from flprivacy.privacy.accounting import PrivacySpent as PrivacySpent
    from flprivacy.privacy.accounting import account as account
    from flprivacy.privacy.events import SampledGaussianSteps as SampledGaussianSteps

__version__ = "0.1.0"

# Where each public name lives; the imports above say the same to type checkers.
_HOME = {
    "account": "privacy.accounting",
    "attack_features": "attacks.learner",
    "audit_attribute": "auditing.arrays",
    "audit_epsilon": "auditing.epsilon.audit",
    "AttackError": "core.errors",
    "AttackKey": "core.attributes",
    "Attribute": "core.attributes",
    "AttributeResult": "auditing.arrays",
    "AuditConfig": "auditing.config",
    "AuditError": "core.errors",
    "ConfigError": "core.errors",
    "EpsilonAudit": "auditing.epsilon.audit",
    "EpsilonBound": "core.dp_check",
    "ExcessEstimate": "core.audit",
    "FlprivacyError": "core.errors",
    "LearnerConfig": "attacks.config",
    "MetricEstimate": "core.audit",
    "Policy": "auditing.config",
    "PolicyRule": "auditing.config",
    "PrivacySpent": "privacy.accounting",
    "SampledGaussianSteps": "privacy.events",
    "Verdict": "core.audit",
}

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
