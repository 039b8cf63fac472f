"""Step ``check_policy``: fail a pipeline whose policy does not tolerate a leak, or that lacks a target's numbers."""

from flprivacy.core.artifacts import AUDIT_FILE
from flprivacy.core.audit import GENERATOR, INCONCLUSIVE, LEAK, Audit
from flprivacy.core.errors import AuditError, PolicyError
from flprivacy.core.events import emit
from flprivacy.execution.isolation import try_again
from flprivacy.execution.passing import Open


def check_policy(*, audit: Open, report: Open, fail_on_leak: bool = False) -> int:
    """Fail the pipeline if a target leaks and the run asks for it, or if a target could not be audited.

    Args:
        audit: folder of ``audit.json``.
        report: folder of the report; its place is shown also where the run fails.
        fail_on_leak: whether a leak fails the run.

    Returns:
        The number of leaks: pairs of target and attack on an attribute, and of target and level of membership.

    Raises:
        PolicyError: there is a leak, and the run asks to fail on it.
        AuditError: a target or baseline has no numbers.
    """
    emit("result", audit=str(audit), report=str(report))
    found = Audit.read(audit / AUDIT_FILE)
    leaks = [v for v in found.verdicts if v.verdict == LEAK]
    members = [one for one in found.membership if one.verdict == LEAK]
    unsettled = sum(v.verdict == INCONCLUSIVE for v in found.verdicts)
    if unsettled and not leaks and not members:
        emit(
            "note", text=f"no leak was established, but {unsettled} of {len(found.verdicts)} verdicts are inconclusive"
        )
    if members and fail_on_leak:
        first = members[0]
        raise PolicyError(
            f"{len(members) + len(leaks)} attack(s) leak, such as that on membership of a {first.level} in "
            f"{first.target}: {first.reason}; the run was asked to fail on a leak"
        )
    if leaks and fail_on_leak:
        worst = max(leaks, key=lambda v: v.ci_low - v.threshold)
        raise PolicyError(
            f"{len(leaks)} attack(s) leak, such as that on {worst.attack.target} for {worst.attack.attribute} "
            f"({worst.attack.access}): {worst.reason}; the run was asked to fail on a leak"
        )
    if found.failures:
        listed = "; ".join(f"{f.target}: {f.reason}" for f in found.failures)
        roles = [f.role for f in found.failures]
        what = " or baseline(s)" if "baseline" in roles else ""
        what += " and the generator" if GENERATOR in roles else ""
        number = len(roles) - roles.count(GENERATOR)
        raise AuditError(
            f"{number} target(s){what} could not be audited, the others were: {listed}{try_again(found.failures)}"
        )
    return len(leaks) + len(members)
