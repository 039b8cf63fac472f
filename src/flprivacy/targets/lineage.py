"""The private part of a target: who its members were, and the seeds that private things were drawn from.

.. code-block:: text

    central/target.json, *.weights.h5    the target, which may be published
    central/private/lineage.json         flprivacy.core.target.Lineage, and the files that it names; never published

Auditors who work elsewhere are given the contents of ``private`` at a location of their own.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flprivacy.core.digests import digest_bytes
from flprivacy.core.errors import ConfigError, TargetError
from flprivacy.core.parsing import from_mapping
from flprivacy.core.target import Lineage, PrivacyStatement, TargetRecord
from flprivacy.privacy.config import NOISE_SEED, without_fields
from flprivacy.privacy.events import SITE, ZERO_OUT
from flprivacy.targets.digests import target_digest, weights_digests
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
        """Return model name -> pseudonyms of the scans that it was trained on; nothing where they are unknown.

        Raises:
            TargetError: the file is damaged.
        """
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
    """Return the private part within a target's folder; None where it is kept elsewhere or unknown.

    Older versions laid its files beside the weights.
    """
    if (folder / PRIVATE_FOLDER).is_dir():
        return read_private_part(folder / PRIVATE_FOLDER, record)
    if not (folder / MEMBERS_FILE).is_file():
        return None
    there = {
        "members": MEMBERS_FILE,
        "history": HISTORY_FILE if (folder / HISTORY_FILE).is_file() else "",
        "canaries": CANARIES_FILE if (folder / CANARIES_FILE).is_file() else "",
    }
    lineage = Lineage(
        target_digest=record.digest,
        cohort_digest=record.cohort_digest,
        training=record.training,
        n_train={model.name: model.n_train for model in record.models},
        utilities={model.name: model.utility for model in record.models if model.utility is not None},
        utility=record.utility,
        **there,
    )
    return PrivatePart(folder=folder, lineage=lineage)


def released_training(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return a TargetConfig's mapping without its seeds: as it stands in ``target.json``."""
    return without_fields(training, _SEEDS)


def pseudonym(key: str, cohort_digest: str, scan_id: str) -> str:
    """Return the pseudonym of a member: without the lineage's key, nobody can tell whose it is by trying ids."""
    return keyed(key, digest_bytes(f"{cohort_digest}{scan_id}".encode()))


def keyed(key: str, plain_hash: str) -> str:
    """Return the pseudonym of a member whom an older version named by a plain hash."""
    return hmac.digest(bytes.fromhex(key), plain_hash.encode(), "sha256").hex()


def audited_record(record: TargetRecord, part: PrivatePart | None) -> TargetRecord:
    """Return a target's record with the counts and the utility that its private part says, for audits."""
    if part is None or not part.lineage.n_train:
        return record
    known = part.lineage
    models = [
        replace(m, n_train=known.n_train.get(m.name, 0), utility=known.utilities.get(m.name)) for m in record.models
    ]
    return replace(record, models=tuple(models), utility=known.utility)


def withheld(record: TargetRecord) -> tuple[str, ...]:
    """Return what a record of an older version tells about single patients, in words; one of this, nothing."""
    trained_here = record.origin is None
    told = {
        "the cohort's digest": bool(record.cohort_digest),
        "seeds": released_training(record.training) != record.training,
        "numbers of training scans": trained_here and any(model.n_train for model in record.models),
        "utility on held-out patients": record.utility is not None or any(m.utility for m in record.models),
        "numbers of units, and what follows from them": record.privacy is not None and not record.privacy.adjacency,
    }
    return tuple(what for what, tells in told.items() if tells)


def released_record(folder: Path, record: TargetRecord) -> TargetRecord:
    """Return a target's record as it may be published. One of this version is so already.

    One of an older version loses all that :func:`withheld` names; with seeds and the cohort's digest it loses its own
    digest too, which covers them.

    Raises:
        TargetError: a weights file is damaged.
    """
    told = withheld(record)
    if not told:
        return record
    models = record.models
    if record.origin is None:
        models = tuple(replace(model, n_train=0, utility=None) for model in models)
    record = replace(record, models=models, utility=None, **_released_privacy(record))
    training = released_training(record.training)
    if training == record.training and not record.cohort_digest:
        return record
    digest = target_digest(
        weights=weights_digests(folder, record), training=training, cohort_digest="", protocol=record.protocol
    )
    return replace(record, training=training, cohort_digest="", digest=digest)


def _released_privacy(record: TargetRecord) -> dict[str, Any]:
    """Return the fields of an older private record, whose sampling rates, steps and events follow from exact counts."""
    stated = record.privacy
    if stated is None or stated.adjacency:
        return {}
    kept = PrivacyStatement(
        unit=stated.unit,
        epsilon=stated.epsilon,
        epsilon_rdp=stated.epsilon_rdp,
        delta=stated.delta,
        words=f"({stated.epsilon:.3g}, {stated.delta:.1g})-differential privacy of a {stated.unit}, as an older "
        "version accounted for it: with the numbers of units taken as public",
        scans_per_patient=None,
        clip_norm=stated.clip_norm,
        adjacency=ZERO_OUT,
        caveats=_formerly_uncovered(record, stated.unit),
    )
    return {"privacy": kept, "dp_events": ()}


def _formerly_uncovered(record: TargetRecord, unit: str) -> tuple[str, ...]:
    """Return what older versions did to a target that its epsilon does not cover, in sentences."""
    found = []
    if record.topology == "federated" and unit != SITE:
        found.append(
            "Not covered: clients were averaged by their numbers of scans, so the spread of the weights may tell how "
            "many scans a patient has; train again for an epsilon that holds."
        )
    if record.partition == "iid":
        found.append("Not covered: one patient less would have moved the scans of others to other clients.")
    return tuple(found)
