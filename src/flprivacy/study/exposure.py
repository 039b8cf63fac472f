"""Attacks on the membership of all targets with their reference models, and which hospitals those say took part."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from flprivacy.attacks.membership.combined import attack_with_generator
from flprivacy.attacks.membership.references import attack_references
from flprivacy.attacks.membership.references import attack_with_references as attack
from flprivacy.attacks.membership.site_references import site_signals
from flprivacy.auditing.membership.retraining import MOST_REFERENCES, spread_of
from flprivacy.core.artifacts import MEMBERSHIP_FILE
from flprivacy.core.audit import TargetFailure
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import AttackError
from flprivacy.core.membership import LEAST_REFERENCES
from flprivacy.core.membership_scores import MembershipScores
from flprivacy.core.reference_scores import ReferenceScores, SiteSignals
from flprivacy.core.vocabulary import SITES
from flprivacy.execution.isolation import read_failure, read_generator_failure
from flprivacy.study.plan import Plan
from flprivacy.study.references import recipe_of, references_of, trained_references, why_no_references
from flprivacy.synthesis.checks.membership import CALIBRATED
from flprivacy.training.recipe import recipe_digest


def attack_with_references(
    run: Plan,
    cohort: Cohort,
    attacked: Sequence[Path],
    references: Sequence[Path],
    *,
    step: str,
    generator: Path | None = None,
) -> tuple[list[MembershipScores], list[TargetFailure]]:
    """Attack the membership of every target with its reference models, where it has some.

    A target of which a reference failed is not attacked: it would seem safer than it is.

    Args:
        run: which references of which recipe were asked for.
        cohort: the cohort that members and held-out scans come from.
        attacked: folders of what attacks without references found of each target, or of what failed.
        references: folders of what each reference model answers, or of what failed.
        step: which does this, for what fails here.
        generator: folder of what the checks of the study's generator found. Targets with synthetic scans are also
            attacked by whoever holds both.

    Returns:
        The tables of the targets that could be attacked, with all scores, and what failed of the others and of the
        generator.

    Raises:
        AttackError: a table is damaged.
    """
    trained = trained_references(references)
    failed = {one.target: one for folder in references if (one := read_failure(folder)) is not None}
    of_generator = generator / MEMBERSHIP_FILE if generator is not None else None
    known = MembershipScores.read(of_generator) if of_generator is not None and of_generator.is_file() else None
    found: list[MembershipScores] = []
    broken = read_generator_failure(generator) if generator is not None else None
    failures = [broken] if broken is not None else []
    for folder in attacked:
        if (failure := read_failure(folder)) is not None:
            failures.append(failure)
            continue
        table = MembershipScores.read(folder / MEMBERSHIP_FILE)
        if table.target in failed and not table.why_not:
            failures.append(failed[table.target])
            continue
        try:
            found.append(_with_generator(run, _attacked(run, cohort, table, trained), known))
        except AttackError as error:
            failures.append(TargetFailure(target=table.target, step=step, reason=str(error), transient=False))
    return found, failures


def _attacked(
    run: Plan, cohort: Cohort, found: MembershipScores, trained: Mapping[tuple[str, str, int], Path]
) -> MembershipScores:
    """Return a target's table, with scores by references where there are any."""
    if found.why_not:
        return found
    recipe = recipe_of(run, found.target)
    if recipe is None:
        return replace(found, why_no_references=why_no_references(run, found.target))
    digest = recipe_digest(recipe)
    folders = references_of(run, found.target, digest, trained)
    done = attack(found, cohort, map(ReferenceScores.read, folders), recipe=digest)
    if len(folders) < LEAST_REFERENCES:
        return done
    again = map(ReferenceScores.read, folders[:MOST_REFERENCES])
    return replace(done, spread=spread_of(attack_references(found, cohort, again, recipe=digest)))


def _with_generator(run: Plan, found: MembershipScores, generator: MembershipScores | None) -> MembershipScores:
    """Return a target's table, with the attack of whoever holds its generator, too, where it has one."""
    config = run.study.targets.get(found.target)
    if generator is None or found.why_not or config is None or config.synthetic is None:
        return found
    return attack_with_generator(found, generator, CALIBRATED)


def ask_about_sites(
    run: Plan, cohort: Cohort, attacked: Sequence[MembershipScores], references: Sequence[Path], *, step: str
) -> tuple[list[SiteSignals], list[TargetFailure]]:
    """Return what references on halves of the hospitals answer, of every target of which they were asked for.

    Args:
        run: which references of which recipe were asked for.
        cohort: the cohort that they were trained on.
        attacked: the tables of the targets of which nothing failed.
        references: folders of what each reference model answers, or of what failed.
        step: which does this, for what fails here.

    Returns:
        The signals, or why there are none; and what failed.

    Raises:
        AttackError: a folder is damaged.
    """
    trained = trained_references(references)
    found: list[SiteSignals] = []
    failures: list[TargetFailure] = []
    for target in sorted(table.target for table in attacked if table.role != "baseline"):
        try:
            asked = _asked(run, cohort, target, trained)
        except AttackError as error:
            failures.append(TargetFailure(target=target, step=step, reason=str(error), transient=False))
            continue
        found += [asked] if asked is not None else []
    return found, failures


def _asked(run: Plan, cohort: Cohort, target: str, trained: Mapping[tuple[str, str, int], Path]) -> SiteSignals | None:
    """Return a target's signals, or why it has none; None where nobody asked."""
    recipe = recipe_of(run, target, SITES)
    if recipe is None:
        why_not = why_no_references(run, target, SITES)
        return SiteSignals(target=target, why_not=why_not) if why_not else None
    digest = recipe_digest(recipe)
    own = map(ReferenceScores.read, references_of(run, target, digest, trained, SITES))
    return site_signals(target, cohort, own, recipe=digest)
