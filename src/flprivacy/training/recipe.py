"""The recipe of a target: how it was trained, but for what was drawn by chance."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flprivacy.core.digests import digest_json
from flprivacy.core.errors import ConfigError
from flprivacy.core.parsing import from_mapping
from flprivacy.core.target_source import CUSTOM
from flprivacy.core.vocabulary import BASELINE_TOPOLOGIES
from flprivacy.privacy.config import NOISE_SEED, without_fields
from flprivacy.training.config import TargetConfig, training_mapping

_DRAWN = ("seed", NOISE_SEED)  # these two targets may differ in and share their references

OWN_NETWORK = "its network is the user's own, which is audited and not trained here"


def recipe_digest(config: TargetConfig) -> str:
    """Return the digest of a target's recipe: all of its configuration but seeds."""
    return digest_json(without_fields(training_mapping(config), _DRAWN))


def why_no_recipe(config: TargetConfig) -> str:
    """Return why no reference can be trained as a target is; empty if it can."""
    if config.topology in BASELINE_TOPOLOGIES:
        return "it was trained on nobody"
    if config.architecture == CUSTOM:
        return OWN_NETWORK
    if config.canaries is not None:
        return "it was trained with canaries, which are no patients"
    return ""


def why_no_site_recipe(config: TargetConfig) -> str:
    """Return why no reference on half of the hospitals can be trained as a target is; empty if one can."""
    if reason := why_no_recipe(config):
        return reason
    if config.topology == "siloed":
        return "it has a model for each hospital, which names the hospital that it was trained at"
    return ""


def stated_recipe(training: Mapping[str, Any], *, architecture: str, where: str) -> TargetConfig:
    """Return the recipe that a target's record states.

    Args:
        training: fields of a TargetConfig, as ``target.json`` holds them.
        architecture: of the target, which the recipe must have, or leaves out.
        where: names the target in messages.

    Raises:
        ConfigError: it is no recipe, or another architecture's.
    """
    config = from_mapping(TargetConfig, {"architecture": architecture} | dict(training), f"{where}: training")
    if config.architecture != architecture:
        raise ConfigError(
            f"{where}: training.architecture is {config.architecture!r}, and the target is of {architecture!r}: "
            "references of another recipe say nothing about it; state how it was trained itself"
        )
    return config


def reference_config(config: TargetConfig, number: int) -> TargetConfig:
    """Return the configuration of one reference: the recipe with draws of its own.

    Noise that a test fixed is drawn anew, too; otherwise it stays a secret of the reference.
    """
    privacy, synthetic = config.privacy, config.synthetic
    if privacy is not None and privacy.noise_seed is not None:
        privacy = replace(privacy, noise_seed=number)
    if synthetic is not None:
        synthetic = replace(synthetic, seed=number)
    return replace(config, seed=number, privacy=privacy, synthetic=synthetic)
