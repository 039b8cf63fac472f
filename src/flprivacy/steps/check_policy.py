"""Step ``check_policy``: fail a pipeline whose policy does not tolerate a leak, or that lacks a target's numbers."""

from pathlib import Path

from flprivacy.core.artifacts import AUDIT_FILE
from flprivacy.core.audit import LEAK, Audit
from flprivacy.core.errors import AuditError
from flprivacy.core.events import emit


def check_policy(*, audit: Path, report: Path, fail_on_leak: bool = False) -> int:
    """Return how many target and attack pairs leak.

    Args:
        audit: folder of ``audit.json``.
        report: folder of the report: whoever watches is told of both before the run may fail.
        fail_on_leak: fail on a leak even if the policy does not ask for it.

    Raises:
        AuditError: there is a leak, and the policy or the caller asks to fail on it; or a target has no numbers.
    """
    emit("result", audit=str(audit), report=str(report))
    found = Audit.read(audit / AUDIT_FILE)
    leaks = [v for v in found.verdicts if v.verdict == LEAK]
    policy = found.config.get("audit", {}).get("policy", {})
    if leaks and (fail_on_leak or policy.get("fail_on_leak", False)):
        worst = max(leaks, key=lambda v: v.ci_low - v.threshold)
        raise AuditError(
            f"{len(leaks)} attack(s) leak, such as {worst.attribute} from {worst.target} ({worst.access}): "
            f"{worst.reason}; the policy says to fail on a leak"
        )
    if found.failures:
        listed = "; ".join(f"{f.target}: {f.reason}" for f in found.failures)
        again = " (to try again, raise the parameter 'attempt')" if any(f.passing for f in found.failures) else ""
        raise AuditError(f"{len(found.failures)} target(s) could not be audited, the others were: {listed}{again}")
    return len(leaks)
