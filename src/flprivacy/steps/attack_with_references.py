"""Step ``attack_with_references``: attack the membership of all targets with their reference models."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from flprivacy.attacks.membership.references import attack_with_references as attack
from flprivacy.cohorts.placed import open_manifest
from flprivacy.core.artifacts import MEMBERSHIP_FILE, REFERENCE_FILE
from flprivacy.core.audit import TargetFailure
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import AttackError
from flprivacy.core.membership_scores import MembershipScores
from flprivacy.core.parsing import to_mapping
from flprivacy.core.publish import publish_folder, write_json
from flprivacy.core.reference_scores import ReferenceScores
from flprivacy.execution.isolation import FAILURE_FILE, read_failure
from flprivacy.study.plan import Plan
from flprivacy.study.references import recipe_of, why_no_references
from flprivacy.training.recipe import recipe_digest

_STEP = "attack_with_references"


def attack_with_references(
    *, plan: Path, cohort: Path, attacked: tuple[Path, ...], references: tuple[Path, ...], membership: Path
) -> None:
    """Attack the membership of every target with its reference models, where it has some.

    A target of which a reference failed is not attacked: it would seem safer than it is.

    Args:
        cohort: the cohort that members and held-out scans come from.
        attacked: what step ``attack_membership`` found of each target.
        references: what the reference models answer.
        membership: folder to write: a folder for each target, with the table of its scans and all scores, or with what
            failed.
    """
    run, opened = Plan.read(plan), open_manifest(cohort)
    tables = [ReferenceScores.read(one) for one in references if (one / REFERENCE_FILE).is_file()]
    failed = {one.target: one for folder in references if (one := read_failure(folder)) is not None}
    with publish_folder(membership) as partial:
        for folder in attacked:
            if (failure := read_failure(folder)) is not None:
                _leave(failure, partial)
                continue
            found = MembershipScores.read(folder / MEMBERSHIP_FILE)
            if found.target in failed and not found.why_not:
                _leave(failed[found.target], partial)
                continue
            try:
                done = _attacked(run, opened, found, tables)
            except AttackError as error:
                _leave(TargetFailure(target=found.target, step=_STEP, reason=str(error), transient=False), partial)
            else:
                done.write(partial / found.target / MEMBERSHIP_FILE)


def _leave(failure: TargetFailure, folder: Path) -> None:
    """Write what failed in place of a target's table."""
    write_json(folder / failure.target / FAILURE_FILE, to_mapping(failure))


def _attacked(
    run: Plan, cohort: Cohort, found: MembershipScores, tables: Sequence[ReferenceScores]
) -> MembershipScores:
    """Return a target's table, with scores by references where there are any."""
    if found.why_not:
        return found
    recipe = recipe_of(run, found.target)
    if recipe is None:
        return replace(found, why_no_references=why_no_references(run, found.target))
    digest = recipe_digest(recipe)
    # Targets of one recipe share their references, which come once for each of them.
    own = {one.index: one for one in tables if one.recipe == digest}
    wanted = range(run.study.membership.of(found.target))
    lacking = [index for index in wanted if index not in own]
    if lacking:
        raise AttackError(
            f"target {found.target!r}: {len(lacking)} of {len(wanted)} references of its recipe are missing, the first "
            f"is {lacking[0]}; run the step train_reference"
        )
    return attack(found, cohort, [own[index] for index in wanted], recipe=digest)
