"""The words and numbers of a report: names, formats and honest sentences, shared by the page and the terminal.

Every sentence says what was found, by how much, with its interval, and under which condition. None says "safe".
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flprivacy.core.audit import INCONCLUSIVE, LEAK, NO_LEAK, Audit, TargetSummary, Verdict
from flprivacy.reporting.findings import attributes, decided, partly_loaded, severity, targets

MINUS = "\N{MINUS SIGN}"
GLYPHS = {LEAK: "\N{BLACK CIRCLE}", INCONCLUSIVE: "\N{CIRCLE WITH LEFT HALF BLACK}", NO_LEAK: "\N{WHITE CIRCLE}"}

_ATTRIBUTES = {"site": "site", "sex": "sex", "age_band": "age band", "age_years": "age in years"}
_SECRETS = {
    "site": "the hospital that a scan comes from",
    "sex": "the patient's sex",
    "age_band": "the patient's age band",
    "age_years": "the patient's age",
}
_ACCESSES = {"features": "features", "outputs": "outputs", "finetune": "fine-tuning", "none": "no model"}
_METRICS = {
    "f1_weighted": "weighted F1",
    "f1_macro": "macro F1",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "top3_accuracy": "top-3 accuracy",
    "mae_years": "mean absolute error",
}
_BASELINES = {
    "majority": "Always answers with the commonest class (for age, with a typical age) and never looks at a scan.",
    "pixels": "Learns from the exposed images alone, without any model: what images give away by themselves.",
    "untrained": "Uses the same network with fresh random weights: what its features give away before any training.",
    "pretrained": "Uses the public weights that training began from: what the model gave away before these patients.",
}
_ANOTHER_BASELINE = "A reference that was trained on none of the patients under audit."


@dataclass(frozen=True, kw_only=True)
class Headline:
    """What a reader must know about one target.

    Attributes:
        target: its name.
        verdict: the gravest of its verdicts; empty where the policy decided nothing about it.
        sentences: plain text, at most a few sentences, beginning with the target's name.
        warning: what else must be known before the sentence is believed; empty if nothing.
    """

    target: str
    verdict: str
    sentences: str
    warning: str


def attribute_name(attribute: str) -> str:
    """Return ``age_band`` as "age band" and so on; unknown names as they are."""
    return _ATTRIBUTES.get(attribute, attribute)


def secret(attribute: str) -> str:
    """Return what the attack tries to read off, such as "the patient's sex"."""
    return _SECRETS.get(attribute, attribute)


def access_name(access: str) -> str:
    """Return what the attacker uses, such as "features"."""
    return _ACCESSES.get(access, access)


def metric_name(metric: str) -> str:
    """Return ``f1_weighted`` as "weighted F1" and so on."""
    return _METRICS.get(metric, metric)


def baseline_meaning(name: str) -> str:
    """Return in a sentence what a baseline does."""
    return _BASELINES.get(name, _ANOTHER_BASELINE)


def in_years(metric: str) -> bool:
    """Return whether a metric is in years, where lower is a stronger attack."""
    return metric.endswith("_years")


def percent(fraction: float) -> str:
    """Return 0.25 as "25%"."""
    return f"{fraction * 100:.4g}%"


def _digits(metric: str) -> int:
    return 2 if in_years(metric) else 3


def number(value: float, metric: str) -> str:
    """Return a metric's value without its unit: three decimals, or two where it is in years."""
    text = f"{value:.{_digits(metric)}f}"
    return text.replace("-", MINUS) if float(text) else text.lstrip("-")


def signed(value: float, metric: str) -> str:
    """Return an excess with its sign."""
    text = number(value, metric)
    return text if text.startswith(MINUS) or not float(text) else f"+{text}"


def unit(metric: str) -> str:
    """Return " years" or nothing, to be put behind a number."""
    return " years" if in_years(metric) else ""


def interval(low: float, high: float, metric: str) -> str:
    """Return an interval as "[0.180, 0.262]"."""
    return f"[{number(low, metric)}, {number(high, metric)}]"


def p_value(p: float) -> str:
    """Return a p-value with three decimals, or "<0.001"."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def shorten(name: str, length: int = 20) -> str:
    """Return a name that fits a label, cut in its middle: names of variants differ at their ends."""
    if len(name) <= length:
        return name
    tail = (length - 1) // 2
    return f"{name[: length - 1 - tail]}\N{HORIZONTAL ELLIPSIS}{name[-tail:]}"


def listed(items: Sequence[str], last: str = "and") -> str:
    """Return "a", "a and b" or "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}"


def interval_name(audit: Audit) -> str:
    """Return "95% interval", or "interval" where the audit's configuration does not give the coverage."""
    section = audit.config.get("audit", audit.config)
    confidence = section.get("confidence") if isinstance(section, dict) else None
    return f"{percent(confidence)} interval" if isinstance(confidence, float) else "interval"


def tensor_warning(summary: TargetSummary | None) -> str:
    """Return the warning that belongs beside a target of which not every tensor was loaded; empty otherwise."""
    if summary is None or not partly_loaded(summary):
        return ""
    return f"only {summary.tensors_matched} of {summary.tensors_total} tensors loaded"


def epsilon_name(summary: TargetSummary) -> str:
    """Return a private target's budget as "\N{GREEK SMALL LETTER EPSILON} 8 per patient"; empty for others."""
    if summary.epsilon is None:
        return ""
    unit = f" per {summary.privacy.unit}" if summary.privacy else ""
    return f"\N{GREEK SMALL LETTER EPSILON} {summary.epsilon:.3g}{unit}"


def guarantee(summary: TargetSummary) -> str:
    """Return what a private target's training guarantees, in a sentence; empty for others."""
    if summary.epsilon is None:
        return ""
    if summary.privacy is None:
        return f"Its record claims an epsilon of {summary.epsilon:.3g}, and does not say of whom."
    return f"Its training guarantees {summary.privacy.words}."


def overall(audit: Audit) -> str:
    """Return the whole audit in a line: how many targets leak, and for how many that stays open."""
    worst = [severity(decided(audit, target.name)) for target in targets(audit)]
    leaks, unsettled, total = worst.count(LEAK), worst.count(INCONCLUSIVE), len(worst)
    if not any(worst):
        return "The policy decided about none of the targets."
    if leaks:
        text = f"{leaks} of {total} {_plural(total, 'target')} {_verb(leaks)} away more than the policy tolerates"
        return f"{text}; {unsettled} could not be cleared." if unsettled else f"{text}."
    if unsettled:
        return f"No leak was established, but {unsettled} of {total} {_plural(total, 'target')} could not be cleared."
    return f"No leak was found in {total} {_plural(total, 'target')} with these attacks."


def conditions(audit: Audit) -> str:
    """Return what every sentence of a report is conditional on."""
    fractions = sorted({v.fraction for v in audit.verdicts})
    exposed = (
        f" with {listed([percent(f) for f in fractions], 'or')} of the training scans exposed" if fractions else ""
    )
    return (
        f"All this holds for the audited weights and these attacks{exposed}. A stronger attack may find more, and the "
        "same recipe trained again may leak more or less."
    )


def weak_attacks(audit: Audit) -> str:
    """Return a caveat about attacks that stay clearly below a baseline; empty if there are none."""
    weak = sum(v.ci_high < 0.0 for v in audit.verdicts)
    if not weak:
        return ""
    return (
        f"{weak} of {len(audit.verdicts)} attacks {'stays' if weak == 1 else 'stay'} clearly below the best baseline, "
        "which got further without the trained model. That they found no leak says little about a better attack."
    )


def known_to_attacker(audit: Audit) -> str:
    """Return what the attacker knows of the exposed scans, such as "hospital, sex and age"."""
    names = {"site": "hospital", "sex": "sex", "age_band": "age", "age_years": "age"}
    known = list(dict.fromkeys(names.get(attribute, attribute) for attribute in attributes(audit)))
    return listed(known) if known else "attributes"


def headlines(audit: Audit) -> tuple[Headline, ...]:
    """Return one headline per target (not per baseline), in the audit's order."""
    return tuple(_headline(audit, target) for target in targets(audit))


def _headline(audit: Audit, target: TargetSummary) -> Headline:
    verdicts = decided(audit, target.name)
    worst = severity(verdicts)
    write = {LEAK: _leaking, INCONCLUSIVE: _undecided, NO_LEAK: _nothing_found}.get(worst, _not_judged)
    text = write(target.name, verdicts, interval_name(audit))
    warning = tensor_warning(target)
    if warning:
        warning = f"Not a whole model: {warning}. The numbers may describe a partly untrained network."
    return Headline(target=target.name, verdict=worst, sentences=text, warning=warning)


def _leaking(name: str, verdicts: Sequence[Verdict], coverage: str) -> str:
    strongest = [_strongest(v) for v in _by_attribute(verdicts).values() if severity(v) == LEAK]
    first, others = strongest[0], strongest[1:]
    comparative = "better" if in_years(first.metric) else "higher"
    text = (
        f"{name} gives away {secret(first.attribute)}: an attacker with {_means(first)} and {percent(first.fraction)} "
        f"of the training scans reaches a {metric_name(first.metric)} of {_amount(first.value, first)}, "
        f"{_amount(first.excess, first)} {comparative} ({coverage} {_range(first)}) than without the trained model."
    )
    if others:
        text += f" It also gives away {listed([_short(v) for v in others])}."
    return text + _remainder(verdicts, (INCONCLUSIVE, NO_LEAK))


def _undecided(name: str, verdicts: Sequence[Verdict], coverage: str) -> str:
    unsettled = [v for v in _by_attribute(verdicts).values() if severity(v) == INCONCLUSIVE]
    first = _strongest(unsettled[0])
    names = listed([attribute_name(v[0].attribute) for v in unsettled], "or")
    where = "" if len(unsettled) == 1 else f"for {attribute_name(first.attribute)}, "
    bounds = f"({_range(first)}{unit(first.metric)}, from {access_name(first.access)})"
    why = (
        f"lies above the tolerated {_amount(first.threshold, first)} for the best baseline, but not for every baseline"
        if first.ci_low > first.threshold
        else f"reaches across the tolerated {_amount(first.threshold, first)}"
    )
    text = f"{name} could not be cleared of giving away {names}: {where}the {coverage} of its excess {bounds} {why}."
    return text + _remainder(verdicts, (NO_LEAK,))


def _nothing_found(name: str, verdicts: Sequence[Verdict], coverage: str) -> str:
    bounds = []
    for years in (False, True):
        alike = [v for v in verdicts if in_years(v.metric) == years]
        if alike:
            v = max(alike, key=lambda v: v.ci_high)
            what = "of error saved" if years else f"in {metric_name(v.metric)}"
            where = f"{attribute_name(v.attribute)} from {access_name(v.access)}"
            none = f"none in {'years of error' if years else metric_name(v.metric)}"
            bounds.append(f"{_amount(v.ci_high, v)} {what} ({where})" if v.ci_high > 0.0 else none)
    found = "no excess at all" if all(v.ci_high <= 0.0 for v in verdicts) else f"an excess of at most {listed(bounds)}"
    return f"{name}: no leak found. The upper ends of the {coverage}s allow {found}."


def _not_judged(name: str, verdicts: Sequence[Verdict], coverage: str) -> str:
    return f"{name} was attacked, but the policy has no rule that decides about it; see the table of all metrics."


def _remainder(verdicts: Sequence[Verdict], unmentioned: Sequence[str]) -> str:
    """Say what became of the attributes whose gravest verdict is among ``unmentioned``."""
    groups = _by_attribute(verdicts)
    text = ""
    for wanted in unmentioned:
        names = [attribute_name(a) for a, v in groups.items() if severity(v) == wanted]
        if names:
            text += f" {'Not settled' if wanted == INCONCLUSIVE else 'No leak found'}: {listed(names)}."
    return text


def _by_attribute(verdicts: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    groups: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault(verdict.attribute, []).append(verdict)
    return groups


def _strongest(verdicts: Sequence[Verdict]) -> Verdict:
    worst = severity(verdicts)
    return max((v for v in verdicts if v.verdict == worst), key=lambda v: v.excess)


def _means(verdict: Verdict) -> str:
    return "its weights to fine-tune" if verdict.access == "finetune" else f"its {access_name(verdict.access)}"


def _amount(value: float, verdict: Verdict) -> str:
    return f"{number(value, verdict.metric)}{unit(verdict.metric)}"


def _range(verdict: Verdict) -> str:
    return f"{number(verdict.ci_low, verdict.metric)} to {number(verdict.ci_high, verdict.metric)}"


def _short(verdict: Verdict) -> str:
    amount = f"{signed(verdict.excess, verdict.metric)}{unit(verdict.metric)}"
    bounds = interval(verdict.ci_low, verdict.ci_high, verdict.metric)
    gain = " of error saved" if in_years(verdict.metric) else ""
    return f"{secret(verdict.attribute)} ({amount}{gain} {bounds}, from {access_name(verdict.access)})"


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"


def _verb(count: int) -> str:
    return "gives" if count == 1 else "give"
