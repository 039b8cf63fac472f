"""Which baselines a target is held against. A missing one is an error: without it every number looks like a leak."""

from collections.abc import Sequence

from flprivacy.auditing.runs import AttackRuns
from flprivacy.core.errors import AuditError

NO_MODEL = "none"
WITHOUT_MODEL = {
    "pixels": "run the pixels-only attacker (step attack_baselines)",
    "majority": "run the majority guess (step attack_baselines)",
}


def baselines_of(target: AttackRuns, others: Sequence[AttackRuns]) -> list[AttackRuns]:
    """Return the baselines of a target's attack: same attribute and fraction, and the same access to the same
    architecture or no model at all.

    Args:
        target: an attack on a target.
        others: all attacks on the attribute.

    Raises:
        AuditError: no fresh weights attacked with the same access, only one initialisation of them, no pixels-only
            attacker, no majority guess, or one with other attacker seeds.
    """
    found = [
        runs
        for runs in others
        if runs.role == "baseline" and runs.fraction == target.fraction and _comparable(runs, target)
    ]
    _check_complete(target, found)
    for runs in found:
        if runs.seeds != target.seeds:
            raise AuditError(
                f"{target.describe()}: attacker seeds {_list(target.seeds)}, but baseline {runs.target!r} has "
                f"{_list(runs.seeds)}; attack both with the same seeds, for the comparison is paired by seed"
            )
    return found


def _comparable(baseline: AttackRuns, target: AttackRuns) -> bool:
    same = baseline.access == target.access and baseline.architecture == target.architecture
    return same or baseline.access == NO_MODEL


def _check_complete(target: AttackRuns, found: Sequence[AttackRuns]) -> None:
    fresh = [runs for runs in found if runs.access == target.access]
    if not fresh:
        raise AuditError(
            f"{target.describe()}: no baseline with fresh weights of architecture {target.architecture!r} was "
            f"attacked; attack an untrained target of it with access {target.access!r} at this fraction"
        )
    if max(len(runs.models) for runs in fresh) < 2:
        raise AuditError(
            f"{target.describe()}: baseline {fresh[0].target!r} has 1 model; fresh weights differ by luck, so give "
            "an untrained target at least 2 initialisations (5 are better)"
        )
    names = {runs.target for runs in found}
    for name, remedy in WITHOUT_MODEL.items():
        if name not in names:
            raise AuditError(f"{target.describe()}: no baseline {name!r}; {remedy} at this fraction")


def _list(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
