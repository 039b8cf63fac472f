"""Step ``check_generator``: fail a pipeline whose generator copies patients."""

from flprivacy.core.artifacts import GENERATOR_AUDIT_FILE
from flprivacy.core.errors import PolicyError
from flprivacy.core.events import emit
from flprivacy.core.generator_audit import COPIES, GeneratorAudit
from flprivacy.execution.passing import Open


def check_generator(*, generator_audit: Open, generator: Open, synthetic: Open, fail_on_leak: bool) -> str:
    """Fail the pipeline if the generator copies patients and the run asks for it.

    Args:
        generator_audit: folder of ``generator_audit.json``.
        generator: the generator that it is of.
        synthetic: the synthetic cohort that it is of.
        fail_on_leak: whether copies of patients fail the run.

    Returns:
        The verdict.

    Raises:
        PolicyError: the generator copies patients, and the run asks to fail then.
    """
    emit("result", generator_audit=str(generator_audit), generator=str(generator), synthetic=str(synthetic))
    copies = GeneratorAudit.read(generator_audit / GENERATOR_AUDIT_FILE).memorisation
    if fail_on_leak and copies.verdict == COPIES:
        raise PolicyError(f"the generator copies patients: {copies.reason}")
    return copies.verdict
