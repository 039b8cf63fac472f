"""The private part of a target: who its members were, and the seeds that private things were drawn from.

.. code-block:: text

    central/target.json, *.weights.h5    the target, which may be published
    central/private/lineage.json         flprivacy.core.target.Lineage, and the files that it names; never published

Auditors who work elsewhere are given the contents of ``private`` at a location of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flprivacy.core.errors import ConfigError, TargetError
from flprivacy.core.parsing import from_mapping
from flprivacy.core.target import Lineage, TargetRecord
from flprivacy.privacy.config import NOISE_SEED, without_fields
from flprivacy.targets.folder import plain_file, read_json

PRIVATE_FOLDER = "private"
LINEAGE_FILE = "lineage.json"
MEMBERS_FILE, HISTORY_FILE, CANARIES_FILE = "members.json", "history.json", "canaries.parquet"
# Of the run, of the noise and of the canaries: they draw initial weights, clients and partitions, noise, and who is in.
_SEEDS = ("seed", NOISE_SEED)


@dataclass(frozen=True, kw_only=True)
class PrivatePart:
    """The private part of a target on this machine: its folder and what its ``lineage.json`` says."""

    folder: Path
    lineage: Lineage

    def members(self) -> dict[str, tuple[str, ...]]:
        """Return model name -> hashes of the scans that it was trained on; nothing where they are unknown."""
        if not self.lineage.members:
            return {}
        path = self.folder / self.lineage.members
        try:
            return {str(model): tuple(map(str, hashes)) for model, hashes in read_json(path).items()}
        except (AttributeError, TypeError) as error:
            raise TargetError(f"{path}: not a list of members for each model; copy it again") from error


def read_private_part(folder: Path, record: TargetRecord) -> PrivatePart:
    """Read the private part of a target from a folder of ``lineage.json`` and the files that it names."""
    part = PrivatePart(folder=folder, lineage=read_lineage(folder, record))
    for name in part.lineage.files:
        plain_file(folder, name, LINEAGE_FILE)
    return part


def read_lineage(folder: Path, record: TargetRecord) -> Lineage:
    """Read ``lineage.json``, whether or not the files that it names are there.

    Raises:
        TargetError: it is missing, damaged, or another target's.
    """
    path = folder / LINEAGE_FILE
    try:
        lineage = from_mapping(Lineage, read_json(path), LINEAGE_FILE)
    except ConfigError as error:
        raise TargetError(f"{path}: not the lineage of a target ({error}); copy it again") from error
    if lineage.target_digest != record.digest:
        raise TargetError(
            f"{path}: is of target {lineage.target_digest[:12]}, not of {record.name!r} ({record.digest[:12]}); give "
            "the private part that was kept when this target was trained"
        )
    return lineage


def private_part(folder: Path, record: TargetRecord) -> PrivatePart | None:
    """Return the private part within a target's folder; None where it is kept elsewhere or unknown."""
    if (folder / PRIVATE_FOLDER).is_dir():
        return read_private_part(folder / PRIVATE_FOLDER, record)
    return None


def released_training(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return a TargetConfig's mapping without its seeds: as it stands in ``target.json``."""
    return without_fields(training, _SEEDS)
