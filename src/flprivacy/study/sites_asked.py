"""Which hospitals took part: what every target's references on halves of the hospitals answer."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from flprivacy.attacks.membership.site_references import site_signals
from flprivacy.core.audit import TargetFailure
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import AttackError
from flprivacy.core.membership_scores import MembershipScores
from flprivacy.core.reference_scores import ReferenceScores
from flprivacy.core.site_signals import SiteSignals
from flprivacy.core.vocabulary import SITES
from flprivacy.study.plan import Plan
from flprivacy.study.references import recipe_of, references_of, trained_references, why_no_references
from flprivacy.training.recipe import recipe_digest


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
