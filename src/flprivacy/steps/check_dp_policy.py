"""Step ``check_dp_policy``: fail a pipeline whose claim of privacy is contradicted."""

from flprivacy.core.artifacts import CHECK_FILE
from flprivacy.core.dp_check import CONTRADICTED, DpCheck
from flprivacy.core.errors import PolicyError
from flprivacy.core.events import emit
from flprivacy.execution.passing import Open


def check_dp_policy(*, check: Open, fail_on_leak: bool) -> str:
    """Fail the pipeline if the canaries contradict the claim and the run asks for it.

    Args:
        check: folder of ``dp_check.json``.
        fail_on_leak: whether a contradicted claim fails the run.

    Returns:
        The verdict.

    Raises:
        PolicyError: the claim is contradicted, and the run asks to fail then.
    """
    emit("result", check=str(check))
    found = DpCheck.read(check / CHECK_FILE)
    if fail_on_leak and found.verdict == CONTRADICTED:
        raise PolicyError(f"{found.name}: {found.reason}")
    return found.verdict
