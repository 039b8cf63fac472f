"""Step ``check_change``: fail a pipeline in which a target changed for the worse."""

from flprivacy.core.artifacts import CHANGE_FILE
from flprivacy.core.change import WORSE, AuditChange
from flprivacy.core.errors import PolicyError
from flprivacy.execution.passing import Open


def check_change(*, change: Open, fail_on_worse: bool = False) -> str:
    """Fail the pipeline if a target changed for the worse and the run asks for it.

    Args:
        change: folder of ``change.json``.
        fail_on_worse: whether a change for the worse fails the run.

    Returns:
        The verdict.

    Raises:
        PolicyError: a target changed for the worse, and the caller asks to fail on it.
    """
    found = AuditChange.read(change / CHANGE_FILE)
    worse = [one for one in found.targets if one.verdict == WORSE]
    if worse and fail_on_worse:
        raise PolicyError(
            f"{len(worse)} target(s) changed for the worse, such as {worse[0].target}: {worse[0].reason}; the run was "
            "asked to fail on it"
        )
    return found.verdict
