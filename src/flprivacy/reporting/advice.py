"""What a reader should do about each target: one sentence that says what leaks, to whom, and what follows."""

from collections.abc import Sequence

from flprivacy.core.attributes import attribute_of
from flprivacy.core.audit import INCONCLUSIVE, LEAK, NO_LEAK, Audit, TargetSummary, Verdict
from flprivacy.core.vocabulary import MEMORISED, TOGETHER
from flprivacy.reporting import findings, membership, remedies, tables, words
from flprivacy.reporting.remedies import remedy

_TOPOLOGIES = {
    "central": "One model, trained in one place on all hospitals' scans.",
    "federated": "One model, trained by all hospitals together; the scans stayed where they are.",
    "siloed": "One model a hospital, each trained on that hospital's own scans.",
}
_IN_SHORT = {
    "central": "trained in one place",
    "federated": "hospitals together",
    "siloed": "one model per hospital",
}
_HARDLY_USEFUL = 0.55  # AUC; guessing reaches 0.5


def advice(audit: Audit, target: TargetSummary) -> str:
    """Return the sentence: what the target leaks, to whom, and what to do."""
    found = findings.decided(audit, target.name)
    if target.doubt and findings.severity(found) == INCONCLUSIVE:
        return (
            f"{target.name} cannot be cleared, whatever the attacks find, while it is in doubt what it takes: "
            f"{target.doubt}, and audit it again."
        )
    write = {LEAK: _leaking, INCONCLUSIVE: _unsettled, NO_LEAK: _clear}.get(findings.severity(found))
    if write is None:
        return f"{target.name} was not judged: give the policy a rule for what was attacked before deciding about it."
    return write(audit, target.name, found)


def release(audit: Audit) -> str:
    """Return in a sentence which model may be given to whom; empty where no recipient was asked about."""
    rows = tables.handover(audit)
    if not rows or not tables.recipients(audit):
        return ""
    by_whom: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        by_whom.setdefault(row.allowed, []).append(row.target)
    refused = by_whom.pop((), [])
    if not by_whom:
        what = f"{refused[0]} may not" if len(refused) == 1 else f"none of the {len(refused)} models may"
        return f"On this audit, {what} be given to anybody."
    given = "; ".join(f"{words.listed(n)} may be given to {_someone(audit, whom)}" for whom, n in by_whom.items())
    unconfirmed = [t.name for t in findings.targets(audit) if t.unconfirmed and t.name not in refused]
    provided = f", if {words.listed(unconfirmed)} saw here what training showed" if unconfirmed else ""
    return f"On this audit, {given}{'; ' + words.listed(refused, 'or') + ' to nobody' if refused else ''}{provided}."


def _someone(audit: Audit, whom: Sequence[str]) -> str:
    """Return recipients in words: "someone who sees its answers and has no scan" and so on, or that it is all."""
    if len(whom) > 1 and len(whom) == len(tables.recipients(audit)):
        return "every kind of recipient that was asked about"
    return f"someone who {words.listed([who.replace(',', ' but') for who in whom], 'or')}"


def _leaking(audit: Audit, name: str, found: Sequence[Verdict]) -> str:
    leaks = [v for v in found if v.verdict == LEAK]
    whom = "them" if _somebody(audit, name) else "anybody"
    return (
        f"{name} leaks {_what_to_whom(leaks)}: do not give it to {whom}; train it again with more protection, or "
        f"withhold it.{_cleared(found)}"
    )


def _unsettled(audit: Audit, name: str, found: Sequence[Verdict]) -> str:
    unsettled = [v for v in found if v.verdict == INCONCLUSIVE]
    secrets = words.listed(list(dict.fromkeys(words.attribute_name(v.attack.attribute) for v in unsettled)), "or")
    open_ = f"It is not settled whether {name} gives away a patient's {secrets}"
    if membership.gives_away(audit, name):
        return f"{open_}; to settle that would not release the model.{_cleared(found)}"
    return f"{open_}. {remedy(audit, unsettled)}{_cleared(found)}"


def of_members(audit: Audit, target: TargetSummary) -> str:
    """Return whether a target gives away who was trained on, and what to do; empty where it does not, or nobody asked.

    What is not settled is said with what would settle it.
    """
    name, said = target.name, []
    told = membership.gives_away(audit, name)
    if told:
        said.append(f"{name} gives away {words.listed(told)}: do not give it to anybody.")
    if membership.verdicts(audit).get(name) == INCONCLUSIVE:
        said.append(f"Who {name} was trained on is not settled: {remedies.of_members(audit, target)}.")
    return " ".join(said)


def _somebody(audit: Audit, name: str) -> bool:
    """Return whether the first table allows anybody to have a target."""
    return any(row.allowed for row in tables.handover(audit) if row.target == name)


def _cleared(found: Sequence[Verdict]) -> str:
    """Return to whom nothing leaks, where that is somebody; empty if nobody. Whoever has weights has answers, too."""
    ways = dict.fromkeys(v.attack.access for v in found)
    unclear = {v.attack.access for v in found if v.verdict != NO_LEAK}
    unclear |= {"features", "finetune"} if unclear & {"outputs", TOGETHER} else set()
    clear = [words.holder(way) for way in ways if way not in unclear]
    return f" No leak was found to {words.listed(clear, 'or')}." if clear else ""


def _clear(audit: Audit, name: str, found: Sequence[Verdict]) -> str:
    secrets = list(dict.fromkeys(attribute_of(v.attack.attribute).secret for v in found))
    given = ": the policy does not stand against giving it to them" if _somebody(audit, name) else ""
    holders = words.listed([words.holder(way) for way in dict.fromkeys(v.attack.access for v in found)], "or")
    return (
        f"{name} tells {holders} nothing that these attacks could find of {words.listed(secrets)} beyond what they "
        f"would know without its training{given}."
    )


def _what_to_whom(found: Sequence[Verdict]) -> str:
    """Return "the patient's sex to whoever sees its answers" and so on; who learns the same is named together."""
    learnt: dict[tuple[str, bool], dict[str, None]] = {}
    for v in found:
        learnt.setdefault((v.attack.access, v.question == MEMORISED), {})[attribute_of(v.attack.attribute).secret] = (
            None
        )
    together: dict[tuple[tuple[str, ...], bool], list[str]] = {}
    for (access, own), secrets in learnt.items():
        together.setdefault((tuple(secrets), own), []).append(words.holder(access))
    return ", and ".join(
        f"{words.listed(what)}{', of its own training patients,' if own else ''} to {words.listed(whom, 'or')}"
        for (what, own), whom in sorted(together.items(), key=lambda item: item[0][1])
    )


def in_short(target: TargetSummary) -> str:
    """Return in a few words what a target is, for below its name; empty where that is not known."""
    share = target.synthetic_share
    parts = (
        _IN_SHORT.get(target.topology or "", ""),
        "differential privacy" if target.epsilon is not None else "",
        f"{words.percent(share)} synthetic scans" if share else "",
    )
    return ", ".join(filter(None, parts))


def topology_meaning(target: TargetSummary) -> str:
    """Return in a sentence or two what a target is; empty where that is not known."""
    share = target.synthetic_share
    synthetic = ""
    if share == 1.0:
        synthetic = (
            "All scans that it was trained on are synthetic; its members are those that their generator learnt from."
        )
    elif share:
        synthetic = (
            f"{words.percent(share)} of the scans that it was trained on are synthetic; its members are the others."
        )
    return " ".join(filter(None, [_TOPOLOGIES.get(target.topology or "", ""), synthetic]))


def useless(audit: Audit) -> dict[str, str]:
    """Return target -> a warning, for every target that does its own task hardly better than guessing."""
    return {
        target.name: f"It is of no use: AUC {words.number(target.utility.auc_ovr, 'auc')} on the disease task, where "
        "guessing reaches 0.500."
        for target in findings.targets(audit)
        if target.utility is not None
        and target.utility.auc_ovr is not None
        and target.utility.auc_ovr <= _HARDLY_USEFUL
    }


def family(audit: Audit) -> str:
    """Return how often any verdict of the audit is a false leak; empty where there is none."""
    if not audit.verdicts:
        return ""
    n = len(audit.verdicts)
    if not all(v.looks for v in audit.verdicts):  # filed before verdicts were held together
        return (
            f"This audit's {n} {words.plural(n, 'verdict')} stand alone and are not corrected for their number: where "
            f"nothing leaks, some {0.025 * n:.1f} of them would still be called a leak."
        )
    risk = words.percent(1.0 - words.confidence(audit))
    together = "this audit's one verdict is" if n == 1 else f"any of this audit's {n} verdicts is"
    return f"If nothing leaked, the chance that {together} a leak would be at most {risk}."
