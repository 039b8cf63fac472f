"""Names and numbers as the page and the terminal write them."""

from collections.abc import Sequence

from flprivacy.core.attributes import MEMBERS, AttackKey, attribute_of, metric_of
from flprivacy.core.audit import INCONCLUSIVE, LEAK, NO_LEAK, Audit, ExcessEstimate, Look, MetricEstimate, TargetSummary
from flprivacy.core.membership import SITE
from flprivacy.core.vocabulary import QUESTIONS
from flprivacy.reporting.findings import partly_loaded

MINUS, EPSILON, WARNING = "\N{MINUS SIGN}", "\N{GREEK SMALL LETTER EPSILON}", "\N{WARNING SIGN}"
GLYPHS = {LEAK: "\N{BLACK CIRCLE}", INCONCLUSIVE: "\N{CIRCLE WITH LEFT HALF BLACK}", NO_LEAK: "\N{WHITE CIRCLE}"}

_ACCESSES = {
    "finetune": "fine-tuning",
    "outputs": "answers",
    "together": "all models' answers",
    "joint": "scan and model",
    "none": "no model",
}
_BASELINES = {
    "majority": "Always predicts the most common class (for age, a typical age) and never looks at a scan.",
    "pixels": "Learns from the exposed images alone, without any model: what the images give away by themselves.",
    "untrained": "Uses the same network with fresh random weights: what its features give away before any training.",
    "pretrained": "Uses the public weights that training started from: what the model gave away before it saw these "
    "patients.",
}
_HOLDERS = {
    "features": "whoever is given its weights or its features without the patient's scan",
    "outputs": "whoever sees its answers without the patient's scan",
    "finetune": "whoever trains its weights further",
    "together": "whoever sees the answers of all its models without the patient's scan",
    "joint": "whoever holds both the model and the patient's scan",
}
_ANOTHER_BASELINE = "A reference that was trained on none of the patients under audit."


def attribute_name(attribute: str) -> str:
    """Return ``age_band`` as "age band" and so on; unknown names as they are."""
    return attribute_of(attribute).title


def access_name(access: str) -> str:
    """Return what the attacker uses, such as "features"."""
    return _ACCESSES.get(access, access)


def holder(access: str) -> str:
    """Return who has what an attack of some access needs, such as "whoever trains its weights further"."""
    return _HOLDERS.get(access, f"whoever has its {access_name(access)}")


def attack_name(attribute: str, access: str) -> str:
    """Return an attack as "site from features"."""
    return f"{attribute_name(attribute)} from {access_name(access)}"


def question_title(question: str) -> str:
    """Return a question as a heading, such as "What training put in, for whoever has no scan"."""
    asked = QUESTIONS[question]
    return f"{asked[0].upper()}{asked[1:]}"


def attack_on(attack: AttackKey) -> str:
    """Return an attack as "site from features", with "own patients" where it is judged on members."""
    who = ", own patients" if attack.scans == MEMBERS else ""
    return f"{attack_name(attack.attribute, attack.access)}{who}"


def metric_name(metric: str) -> str:
    """Return ``f1_weighted`` as "weighted F1" and so on."""
    return metric_of(metric).title


def look_name(record: Look | MetricEstimate | ExcessEstimate) -> str:
    """Return a record's metric in words, with the class that it is about."""
    return f"AUC of {record.of_class}" if record.of_class else metric_name(record.metric)


def metric_with_article(metric: str) -> str:
    """Return "a weighted F1", "an AUC of one class" and so on."""
    name = metric_name(metric)
    return f"{'an' if name[0] in 'AEIOaeiou' else 'a'} {name}"


def baseline_meaning(name: str) -> str:
    """Return in a sentence what a baseline does."""
    return _BASELINES.get(name, _ANOTHER_BASELINE)


def in_years(metric: str) -> bool:
    """Return whether a metric is in years."""
    return bool(metric_of(metric).unit)


def percent(fraction: float) -> str:
    """Return 0.25 as "25%"."""
    return f"{fraction * 100:.4g}%"


def number(value: float, metric: str) -> str:
    """Return a metric's value without its unit: three decimals, or two where it is in years."""
    text = f"{value:.{metric_of(metric).decimals}f}"
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


def plural(count: int, noun: str) -> str:
    """Return the noun, with an "s" unless the count is one."""
    return noun if count == 1 else f"{noun}s"


def interval_name(audit: Audit) -> str:
    """Return "95% interval", or "interval" where the audit's configuration does not give the coverage."""
    known = _confidence(audit)
    return "interval" if known is None else f"{percent(known)} interval"


def confidence(audit: Audit) -> float:
    """Return the coverage of the audit's intervals, the usual one where its configuration does not say."""
    return _confidence(audit) or 0.95


def _confidence(audit: Audit) -> float | None:
    section = audit.config.get("audit", audit.config)
    found = section.get("confidence") if isinstance(section, dict) else None
    return found if isinstance(found, float) else None


def tensor_warning(summary: TargetSummary | None) -> str:
    """Return the warning that belongs beside a target of which not every tensor was loaded; empty otherwise."""
    if summary is None or not partly_loaded(summary):
        return ""
    return f"only {summary.tensors_matched} of {summary.tensors_total} tensors loaded"


def epsilon_name(summary: TargetSummary) -> str:
    """Return a private target's budget as "\N{GREEK SMALL LETTER EPSILON} 8 per patient"; empty for others."""
    if summary.epsilon is None:
        return ""
    protected = f" per {summary.privacy.unit}" if summary.privacy else ""
    return f"{EPSILON} {summary.epsilon:.3g}{protected}"


def guarantee(summary: TargetSummary) -> str:
    """Return in a sentence what a private target's training bounds; empty for others."""
    if summary.epsilon is None:
        return ""
    if summary.privacy is None:
        return f"Its record claims an epsilon of {summary.epsilon:.3g}, but not for what unit."
    unit = "hospital" if summary.privacy.unit == SITE else summary.privacy.unit
    return (
        f"Differential privacy bounds what one {unit} adds to it (epsilon {summary.epsilon:.3g}); this is no "
        "permission to release."
    )
