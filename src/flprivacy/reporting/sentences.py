"""What an audit found, in sentences that the page and the terminal share.

Every sentence says what was found, by how much, with its interval, and under which condition. None says "safe".
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from flprivacy.core.attributes import MEMBERS, attribute_of
from flprivacy.core.audit import INCONCLUSIVE, LEAK, NO_LEAK, Audit, Look, TargetSummary, Verdict
from flprivacy.core.target_source import UNKNOWN
from flprivacy.core.vocabulary import HOLDING, MEMORISED, TRAINING
from flprivacy.reporting import advice, asides, failures, findings, membership, words

_WITHOUT_TWIN = (
    "Its owner gave no answers of the same network with fresh weights, so its structure alone may explain what it "
    "tells; it is never called a leak."
)
_MEANS = {
    "finetune": "its weights to fine-tune",
    "joint": "the scan, the model",
    "together": "the answers of all its models",
}
_WITHOUT = {TRAINING: "without its training", HOLDING: "from the scan without its training"}


@dataclass(frozen=True, kw_only=True)
class Headline:
    """What a reader must know about one target."""

    target: str
    verdict: str  # the gravest; empty where the policy decided nothing
    advice: str  # one sentence: what leaks, to whom, what to do
    sentences: str  # the numbers behind it, beginning with the target's name
    warning: str  # what must be known before the sentences are believed; empty if nothing


def overall(audit: Audit) -> str:
    """Return the whole audit in a line: who was trained on first, then who leaks attributes, and what is in doubt."""
    known = known_to_attacker(audit)
    of_attributes = f"{known[0].upper()}{known[1:]}: {_counted(audit)}"
    said = (membership.overall(audit), of_attributes, *failures.in_short(audit), *asides.unsure(audit))
    return " ".join(filter(None, said))


def _counted(audit: Audit) -> str:
    worst = [findings.severity(findings.decided(audit, target.name)) for target in findings.targets(audit)]
    leaks, unsettled, total = worst.count(LEAK), worst.count(INCONCLUSIVE), len(worst)
    if not any(worst):
        return "the policy has no rule for any of the models."
    if unsettled == total:
        if total == 1:
            return "the model is not cleared for every kind of recipient, and is not shown to leak."
        return "no model is cleared for every kind of recipient, and none is shown to leak."
    of_all = f"of {total} {words.plural(total, 'model')}"
    are = "is" if unsettled == 1 else "are"
    if leaks:
        text = f"{leaks} {of_all} {'gives' if leaks == 1 else 'give'} away more than the policy tolerates"
        return f"{text}; {unsettled} {are} not settled." if unsettled else f"{text}."
    if unsettled:
        return f"no model is shown to leak, but {unsettled} {of_all} {are} not cleared for every kind of recipient."
    return f"these attacks found no leak in {total} {words.plural(total, 'model')}."


def conditions(audit: Audit) -> str:
    """Return what every sentence of a report is conditional on."""
    fractions = sorted({v.attack.fraction for v in audit.verdicts})
    exposed = (
        f" with {words.listed([words.percent(f) for f in fractions], 'or')} of the training scans exposed"
        if fractions
        else ""
    )
    return (
        f"All this holds for the audited weights and these attacks{exposed}. A stronger attack may find more, and the "
        "same recipe trained again may leak more or less."
    )


def weak_attacks(audit: Audit) -> str:
    """Return a caveat about attacks that stay clearly below a baseline; empty if there are none."""
    attacks = [v for v in audit.verdicts if v.attack.scans != MEMBERS]
    weak = sum(v.ci_high < 0.0 for v in attacks)
    if not weak:
        return ""
    verb = "does" if weak == 1 else "do"
    return (
        f"{weak} of {len(attacks)} attacks {verb} clearly worse than the best baseline, "
        "which does not use the trained model. That they found no leak says little about a better attack."
    )


def known_to_attacker(audit: Audit) -> str:
    """Return what the attacker knows of the exposed scans, such as "hospital, sex and age"."""
    known = list(dict.fromkeys(attribute_of(attribute).known_as for attribute in findings.attributes(audit)))
    return words.listed(known) if known else "attributes"


def headlines(audit: Audit) -> tuple[Headline, ...]:
    """Return one headline per target (not per baseline), in the audit's order."""
    return tuple(_headline(audit, target) for target in findings.targets(audit))


def _headline(audit: Audit, target: TargetSummary) -> Headline:
    verdicts = findings.decided(audit, target.name)
    worst = findings.severity(verdicts)
    write = {LEAK: _leaking, INCONCLUSIVE: _undecided, NO_LEAK: _nothing_found}.get(worst, _not_judged)
    text = write(audit, target.name, verdicts)
    warning = words.tensor_warning(target)
    if warning:
        warning = f"Not a whole model: {warning}. The numbers may describe a partly untrained network."
    if target.architecture == UNKNOWN:
        warning = _WITHOUT_TWIN
    if target.doubt and worst != INCONCLUSIVE:  # else it is the advice
        doubt = f"It may not have been seen as it works: {target.doubt}."
        warning = f"{warning} {doubt}" if warning else doubt
    if target.unconfirmed:
        warning = f"{warning} Not confirmed: {target.unconfirmed}.".strip()
    if not target.n_train and any(v.question == MEMORISED for v in verdicts):
        warning += (
            f"{' ' if warning else ''}The training scans of this model are not known: what it remembers was asked of "
            "the cohort's training scans, which need not be its own."
        )
    of_members = membership.verdicts(audit).get(target.name, "")
    gravest = LEAK if membership.gives_away(audit, target.name) else _graver(of_members, worst)
    said = " ".join(filter(None, [advice.of_members(audit, target), advice.advice(audit, target)]))
    return Headline(target=target.name, verdict=gravest, advice=said, sentences=text, warning=warning)


def _graver(*found: str) -> str:
    return next((word for word in (LEAK, INCONCLUSIVE, NO_LEAK) if word in found), "")


def _leaking(audit: Audit, name: str, verdicts: Sequence[Verdict]) -> str:
    first, *others = (_strongest(v) for v in _by_question(verdicts).values() if findings.severity(v) == LEAK)
    measure = words.metric_with_article(first.metric)
    if first.looks and first.looks[0].verdict != LEAK:
        look = max((k for k in first.looks if k.verdict == LEAK), key=lambda k: k.excess)
        measure = f"for {look.of_class} an AUC" if look.of_class else words.metric_with_article(look.metric)
        first = _as_seen_by(first, look)
    comparative = "better" if words.in_years(first.metric) else "higher"
    means = _MEANS.get(first.attack.access, f"its {words.access_name(first.attack.access)}")
    attacker = (
        f"an attacker with {means} and {words.percent(first.attack.fraction)} of the training scans reaches "
        f"{measure} of {_amount(first.value, first)}"
    )
    gain, bounds = _amount(first.excess, first), f"({words.interval_name(audit)} {_range(first)})"
    if first.attack.scans == MEMBERS:
        text = (
            f"{name} remembers {_secret(first)} of its own training patients: {attacker} on others of them, "
            f"and does {gain} better on them than on patients it never saw {bounds} beyond what the same attack does "
            "without its training."
        )
    else:
        text = (
            f"{name} gives away {_secret(first)}: {attacker}, {gain} {comparative} {bounds} than "
            f"{_WITHOUT[first.attack.question]}."
        )
    if others:
        text += f" It also gives away {words.listed([_short(v) for v in others])}."
    return text + _remainder(verdicts, (INCONCLUSIVE, NO_LEAK))


def _as_seen_by(verdict: Verdict, look: Look) -> Verdict:
    """Return a verdict with the numbers of another metric that it looked at."""
    return replace(
        verdict,
        metric=look.metric,
        value=look.value,
        baseline=look.baseline,
        baseline_value=look.baseline_value,
        excess=look.excess,
        ci_low=look.ci_low,
        ci_high=look.ci_high,
        threshold=look.threshold,
    )


def _undecided(audit: Audit, name: str, verdicts: Sequence[Verdict]) -> str:
    unsettled = [v for v in _by_question(verdicts).values() if findings.severity(v) == INCONCLUSIVE]
    if all(_would_clear(v) for group in unsettled for v in group if v.verdict == INCONCLUSIVE):
        return f"{name} is not cleared: these attacks found no leak, but perhaps it was not seen as it works."
    unsettled = [group for group in unsettled if not all(_would_clear(v) for v in group if v.verdict == INCONCLUSIVE)]
    first = _strongest(unsettled[0])
    first = next((_as_seen_by(first, look) for look in first.looks if look.verdict == INCONCLUSIVE), first)
    measure = "" if words.in_years(first.metric) else f" in {words.metric_name(first.metric)}"
    bounds = f"({_range(first)}{words.unit(first.metric)}, {_from(first)})"
    tolerated = f"the tolerated {_amount(first.threshold, first)}"
    why = f"includes {tolerated}"
    if first.ci_high < first.threshold:
        why = f"lies below {tolerated} for the best baseline, but not for others as good"
    elif first.ci_low > first.threshold and any(_may_be_chance(look) for look in first.looks):
        why = (
            f"lies above {tolerated} taken alone, but among the {len(audit.verdicts)} comparisons of this audit chance "
            "alone may bring such a result"
        )
    elif first.ci_low > first.threshold:
        why = f"lies above {tolerated} for the best baseline, but not for every baseline"
    about = words.attribute_name(first.attack.attribute)
    text = (
        f"{name} is not cleared: for {about}, the {words.interval_name(audit)} of its excess{measure} {bounds} {why}."
    )
    return text + _remainder(verdicts, (NO_LEAK,))


def _would_clear(verdict: Verdict) -> bool:
    """Return whether every look that can clear does: the verdict is open for a doubt about the target alone."""
    return bool(verdict.looks) and all(look.verdict == NO_LEAK for look in verdict.looks if not look.of_class)


def _may_be_chance(look: Look) -> bool:
    return look.verdict == INCONCLUSIVE and look.ci_low > look.threshold and look.p_leak < 0.025


def _nothing_found(audit: Audit, name: str, verdicts: Sequence[Verdict]) -> str:
    bounds = []
    for years in (False, True):
        alike = [v for v in verdicts if words.in_years(v.metric) == years]
        if alike:
            v = max(alike, key=lambda v: v.ci_high)
            what = "of error saved" if years else f"in {words.metric_name(v.metric)}"
            where = words.attack_on(v.attack)
            none = f"none in {'years of error' if years else words.metric_name(v.metric)}"
            bounds.append(f"{_amount(v.ci_high, v)} {what} ({where})" if v.ci_high > 0.0 else none)
    found = (
        "no excess at all"
        if all(v.ci_high <= 0.0 for v in verdicts)
        else f"an excess of at most {words.listed(bounds)}"
    )
    return f"{name}: no leak found. The upper ends of the {words.interval_name(audit)}s allow {found}."


def _not_judged(audit: Audit, name: str, verdicts: Sequence[Verdict]) -> str:
    return f"{name} was attacked, but the policy has no rule that decides about it; see the table of all metrics."


def _remainder(verdicts: Sequence[Verdict], unmentioned: Sequence[str]) -> str:
    """Say what became of the attributes whose gravest verdict is among ``unmentioned``."""
    groups = _by_attribute(verdicts)
    text = ""
    for wanted in unmentioned:
        names = [words.attribute_name(a) for a, v in groups.items() if findings.severity(v) == wanted]
        if names:
            text += f" {'Inconclusive' if wanted == INCONCLUSIVE else 'No leak found'}: {words.listed(names)}."
    return text


def _by_question(verdicts: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    return _grouped(verdicts, lambda v: f"{v.attack.question} {v.attack.attribute}")


def _by_attribute(verdicts: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    return _grouped(verdicts, lambda v: v.attack.attribute)


def _grouped(verdicts: Iterable[Verdict], key: Callable[[Verdict], str]) -> dict[str, list[Verdict]]:
    groups: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault(key(verdict), []).append(verdict)
    return groups


def _strongest(verdicts: Sequence[Verdict]) -> Verdict:
    worst = findings.severity(verdicts)
    return max((v for v in verdicts if v.verdict == worst), key=lambda v: v.excess)


def _secret(verdict: Verdict) -> str:
    return attribute_of(verdict.attack.attribute).secret


def _amount(value: float, verdict: Verdict) -> str:
    return f"{words.number(value, verdict.metric)}{words.unit(verdict.metric)}"


def _range(verdict: Verdict) -> str:
    return f"{words.number(verdict.ci_low, verdict.metric)} to {words.number(verdict.ci_high, verdict.metric)}"


def _short(verdict: Verdict) -> str:
    amount = f"{words.signed(verdict.excess, verdict.metric)}{words.unit(verdict.metric)}"
    bounds = words.interval(verdict.ci_low, verdict.ci_high, verdict.metric)
    gain = " of error saved" if words.in_years(verdict.metric) else ""
    return f"{_secret(verdict)} ({amount}{gain} {bounds}, {_from(verdict)})"


def _from(verdict: Verdict) -> str:
    of = " of its training patients" if verdict.attack.scans == MEMBERS else ""
    return f"from {words.access_name(verdict.attack.access)}{of}"
