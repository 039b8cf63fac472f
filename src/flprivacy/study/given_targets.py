"""The given targets of an audit: which they are now, what is planned for them, and where their attacks find them."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flprivacy.cohorts.remote import CohortPlace
from flprivacy.core.digests import digest_json
from flprivacy.core.errors import ConfigError, FlprivacyError, TargetError
from flprivacy.core.events import emit
from flprivacy.core.target import TargetRecord
from flprivacy.core.target_source import TargetSource, parse_source
from flprivacy.storage.backends.contract import MissingObjectError
from flprivacy.study.config import StudyConfig
from flprivacy.study.plan import Plan, check_number, given_study, repeat_command
from flprivacy.study.references import recipes_of
from flprivacy.targets.folder import read_target
from flprivacy.targets.given import bring_target, given_private_part, given_record
from flprivacy.targets.lineage import PrivatePart
from flprivacy.targets.listing import target_version

_UNUSABLE = (TargetError, MissingObjectError)  # one target's own fault, which another try would not mend


def resolved_inputs(place: CohortPlace, sources: Mapping[str, str], store: str, preset: str = "") -> str:
    """Return a digest that is another one after any change of the cohort, a target or a preset that is a file.

    A target that cannot be used counts, too: it may be mended.

    Args:
        place: the cohort.
        sources: name -> location of each target, with facts about it.
        store: location of finished artifacts.
        preset: what :func:`flprivacy.presets.digest_now` returns of it; empty: one that comes with flprivacy.

    Raises:
        FlprivacyError: as :func:`~flprivacy.targets.given.given_target`.
    """
    targets = {name: _version(parse_source(word), store) for name, word in sources.items()}
    return digest_json({"cohort": place.version, "targets": targets} | ({"preset": preset} if preset else {}))


def _version(source: TargetSource, store: str) -> str:
    try:
        return target_version(source, store)
    except _UNUSABLE as error:
        return f"cannot be used ({type(error).__name__})"


def usable_records(sources: Mapping[str, str], store: str) -> dict[str, TargetRecord]:
    """Return the records of the targets that can be used; a warning says what is wrong with any other.

    The attack on such a target fails and says so in the report, which then has no baselines of its own for it.

    Raises:
        TargetError: no target can be used.
        FlprivacyError: as :func:`~flprivacy.targets.given.given_target`, for reasons that are not one file's.
    """
    records: dict[str, TargetRecord] = {}
    wrong: dict[str, FlprivacyError] = {}
    for name, word in sources.items():
        try:
            records[name] = given_record(parse_source(word), store)
        except _UNUSABLE as error:
            wrong[name] = error
    if wrong and not records:
        raise next(iter(wrong.values()))
    for name, why in wrong.items():
        emit("warning", message=f"{name} cannot be audited: {why}")
    return records


def plan_given(
    base: StudyConfig,
    *,
    preset: str,
    overrides: Mapping[str, Any],
    cohort: str,
    sources: Mapping[str, str],
    store: str = "",
) -> Plan:
    """Plan the audit of given targets: of a preset all but the cohort and what it trains, and the baselines.

    Args:
        base: what the preset and the overrides say.
        preset: name of the preset, for the command that repeats the run.
        overrides: fields that were replaced, likewise.
        cohort: location of the cohort.
        sources: name -> location of each target, with facts about it.
        store: location of finished artifacts, which keeps what weights files were converted to.

    Raises:
        ConfigError: no target, a wrong name or field.
        TargetError: no target can be used, for a folder that is damaged or a file of another kind.
        StorageError: a target's record cannot be read.
    """
    if not sources:
        raise ConfigError("targets is empty; give at least one as name=folder")
    check_number(len(sources))
    records = usable_records(sources, store)
    study = given_study(base, {name: record.architecture for name, record in records.items()}, sources)
    if taken := sorted({*sources} & {*study.targets}):
        raise ConfigError(f"target name is {taken[0]!r}; that is a baseline's, which the audit adds; choose another")
    recipes, lacking = recipes_of(records, study)
    given = [f"--cohort {shlex.quote(cohort)}", *(f"--target {shlex.quote(f'{k}={v}')}" for k, v in sources.items())]
    return Plan(
        pipeline="privacy_audit",
        command=" ".join([repeat_command("privacy_audit", preset, overrides), *given]),
        study=study,
        cohort=cohort,
        sources=dict(sources),
        recipes=recipes,
        lacking_recipes=lacking,
    )


def pull_target(run: Plan, name: str, out: Path, *, store: str) -> TargetRecord:
    """Bring a given target to ``out`` and check it.

    Raises:
        ConfigError: the plan has no such target.
        TargetError: it is no valid target, the file cannot be used, or the private part that it names is another's.
        StorageError: an object cannot be read or stays damaged.
        TrackingError: MLflow cannot be reached or has no such model.
    """
    if name not in run.sources:
        raise ConfigError(f"target {name!r} is not among the given ones: {', '.join(sorted(run.sources))}")
    return bring_target(parse_source(run.sources[name]), store, name=name, out=out)


def pull_private_part(run: Plan, name: str, target: Path, folder: Path) -> PrivatePart | None:
    """Bring the private part that a given target names to an empty folder, which the caller removes; None without one.

    Args:
        run: the plan.
        name: of the target.
        target: folder of the target, as :func:`pull_target` brought it.
        folder: where to bring it, if it is not on this machine; nothing else holds it.

    Raises:
        TargetError: it is damaged, or another target's.
        StorageError: it is missing or cannot be read.
    """
    if name not in run.sources:
        return None
    return given_private_part(parse_source(run.sources[name]), read_target(target), folder)
