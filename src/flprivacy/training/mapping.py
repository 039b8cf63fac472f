"""A target's configuration as it enters keys, digests and records."""

from typing import Any

from flprivacy.core.parsing import to_mapping
from flprivacy.training.config import TargetConfig


def training_mapping(config: TargetConfig) -> dict[str, Any]:
    """Return a configuration as a mapping, without privacy, canaries and given weights where there are none.

    So keys and digests of training that is not private are what they were before it could be.
    """
    mapping = to_mapping(config)
    return {k: v for k, v in mapping.items() if v or k not in ("privacy", "canaries", "weights")}
