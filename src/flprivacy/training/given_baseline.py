"""Baselines that come from given files: pretrained weights, and fresh weights of a network of the user's own."""

from dataclasses import replace
from pathlib import Path

from flprivacy.core.cohort import CohortMeta
from flprivacy.core.errors import ConfigError
from flprivacy.core.target import TargetRecord
from flprivacy.core.target_source import TargetSource, parse_source
from flprivacy.core.vocabulary import PRETRAINED
from flprivacy.storage.places import open_store
from flprivacy.targets.folder import deliver_target, read_target
from flprivacy.targets.given import given_target
from flprivacy.training.config import TargetConfig


def make_baseline(
    name: str, config: TargetConfig, cohort: CohortMeta, *, protocol: str, store: str, out: Path
) -> TargetRecord:
    """Put the baseline that ``config.weights`` names at ``out`` and return its record.

    Raises:
        TargetError: the file cannot be used.
        ConfigError: a target folder that is no baseline.
    """
    source = parse_source(config.weights)
    if config.topology == PRETRAINED:
        folder = _pretrained(name, source, config, cohort, store)
    else:
        folder = _fresh(given_target(source, store), config, protocol, store)
    record = replace(read_target(folder), name=name)
    deliver_target(folder, record, out)
    return record


def _pretrained(name: str, source: TargetSource, config: TargetConfig, cohort: CohortMeta, store: str) -> Path:
    """Import initial weights, in the cohort's shape: a trunk of convolutions takes scans of any."""
    if source.is_foreign or source.is_mlflow:
        architecture = "" if source.is_custom else source.architecture or config.architecture
        source = replace(
            source,
            role="baseline",
            topology=PRETRAINED,
            architecture=architecture,
            shape=None if source.is_custom else source.shape or cohort.shape,
        )
    folder = given_target(source, store)
    role = read_target(folder).role
    if role != "baseline":
        raise ConfigError(
            f"targets.{name}.weights: {source.location} is a {role}, not a baseline; give the weights that training "
            "started from"
        )
    return folder


def _fresh(network: Path, config: TargetConfig, protocol: str, store: str) -> Path:
    """Give a network of the user's own fresh weights, several times."""
    record = read_target(network)
    inputs = {
        "fresh": record.digest,
        "initialisations": config.initialisations,
        "seed": config.seed,
        "protocol": protocol,
    }

    def make(work: Path, folder: Path) -> None:
        from flprivacy.targets.importing import fresh_target  # imports Keras: only when there is work

        del work  # seconds of drawing: nothing to resume
        fresh_target(network, initialisations=config.initialisations, seed=config.seed, protocol=protocol, out=folder)

    return open_store(store).build("target", inputs, make)
