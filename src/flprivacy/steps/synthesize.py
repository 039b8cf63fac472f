"""Step ``synthesize``: a study's generator, its scans and their checks, one after another."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from flprivacy.core.events import emit
from flprivacy.execution.container import StepResult
from flprivacy.execution.passing import Open, finished
from flprivacy.execution.run_step import part_of_step
from flprivacy.steps.evaluate_generator import evaluate_generator
from flprivacy.steps.synthesize_cohort import synthesize_cohort
from flprivacy.steps.train_generator import train_generator
from flprivacy.study.plan import Plan


def synthesize(
    *,
    plan: Path,
    cohort: Path,
    store: str,
    generator: Path,
    synthetic: Path,
    generator_audit: Path,
    page: Open,
) -> StepResult:
    """Train a study's generator, make its synthetic scans, and check both; where the plan has none, do nothing.

    In one step, so that a study without a generator has one pod for it and not three. What is finished is kept in the
    store: repeated, the step goes on where it was. Where one of the three fails, so do the targets that need its
    scans, and the others do not.

    Args:
        cohort: the cohort to train on, with all volumes.
        generator: folder to write: what step ``train_generator`` writes; of a generator that failed, here and in the
            others, what went wrong. Empty without a generator.
        synthetic: folder to write: a cohort of its scans, as step ``synthesize_cohort`` writes it. Empty without a
            generator.
        generator_audit: folder to write: what the checks found, as step ``evaluate_generator`` writes it. Empty without
            a generator.
        page: file to write: the page of the checks, or that the plan has no generator, for the UI.

    Returns:
        The generator's digest, and epsilon where training was private; the synthetic cohort's digest and its number of
        scans; the p-value of the test for copies, whether any were found, and how good the scans are.

    Raises:
        ConfigError: the plan asks for scans that the generator could not make: of a site or class that there is not, or
            more or fewer than make sense.
    """
    named: Callable[[str], AbstractContextManager[object]] = part_of_step
    if Plan.read(plan).study.generator is None:
        emit("step", step="synthesize", detail="(the plan has no generator)")
        named = nullcontext
    with named("train_generator"):
        trained = train_generator(plan=plan, cohort=cohort, store=store, generator=generator)
    finished(generator)
    with named("synthesize_cohort"):
        made = synthesize_cohort(plan=plan, cohort=cohort, generator=generator, store=store, synthetic=synthetic)
    finished(synthetic)
    with named("evaluate_generator"):
        checked = evaluate_generator(
            plan=plan,
            cohort=cohort,
            generator=generator,
            synthetic=synthetic,
            store=store,
            generator_audit=generator_audit,
            page=page,
        )
    return StepResult(metadata={**trained.metadata, **made.metadata, **checked.metadata})
