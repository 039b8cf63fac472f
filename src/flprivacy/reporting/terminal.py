"""The report in a terminal: the headline in sentences, the verdicts in a table."""

from rich import box
from rich.table import Table
from rich.text import Text

from flprivacy.core.audit import INCONCLUSIVE, LEAK, NO_LEAK, Audit, TargetSummary, Verdict
from flprivacy.reporting import advice, asides, failures, generator, membership, sentences, words
from flprivacy.reporting.findings import decided, targets, utilities
from flprivacy.reporting.words import WARNING

_STYLES = {LEAK: "bold red", INCONCLUSIVE: "yellow", NO_LEAK: "green"}
_NOT_JUDGED = [*(Text() for _ in range(4)), Text("not judged", style="dim")]


def headline(audit: Audit) -> list[str]:
    """Return the audit in plain lines: the whole, one line a target, warnings, which target gives away most, and what
    it is all conditional on.

    The lines are text, not rich markup: a target may be called ``[red]``.
    """
    lines = [text for text in (sentences.overall(audit), advice.release(audit)) if text]
    lines += [f"{WARNING} {line}" for line in failures.lines(audit)]
    lines += membership.lines(audit)
    lines += [generator.first_line(audit.generator)] if audit.generator is not None else []
    for found in sentences.headlines(audit):
        glyph = words.GLYPHS.get(found.verdict, "\N{MIDDLE DOT}")
        lines += [f"{glyph} {found.advice}", f"  {found.sentences}"]
        if found.warning:
            lines.append(f"{WARNING} {found.target}: {found.warning}")
    lines += [*asides.told_together(audit), *asides.ranking_lines(audit)]
    caveat = sentences.weak_attacks(audit)
    useless = [f"{WARNING} {name}: {text}" for name, text in advice.useless(audit).items()]
    closing = [
        text for text in (asides.not_asked(audit), caveat, advice.family(audit), sentences.conditions(audit)) if text
    ]
    return [*lines, *useless, *closing]


def summary_table(audit: Audit) -> Table:
    """Return the verdicts as a rich table: a row per target and attack, at home in 100 to 120 columns.

    Below a target's name stands its utility on the disease task. Cells are plain text, so nothing in the audit
    is taken for markup.
    """
    utility_name, utility = utilities(audit)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False)
    table.caption, table.caption_justify = Text(_caption(audit)), "left"
    table.add_column(Text(f"Target,\ndisease {utility_name}" if utility else "Target"), overflow="fold", max_width=20)
    table.add_column("Attack", overflow="fold")
    table.add_column("Strength", justify="right")
    table.add_column("Best baseline", overflow="fold")
    table.add_column(Text(f"Excess [{words.interval_name(audit)}]"), no_wrap=True)
    table.add_column("Verdict", no_wrap=True)
    several_fractions = len({v.attack.fraction for v in audit.verdicts}) > 1
    for target in targets(audit):
        names = _name_lines(target, utility.get(target.name))
        rows = [_cells(v, with_fraction=several_fractions) for v in decided(audit, target.name)] or [_NOT_JUDGED]
        for i, row in enumerate(rows):
            last = i == len(rows) - 1
            name = Text("\n").join(names[i:] if last else names[i : i + 1])
            table.add_row(name, *row, end_section=last)
    return table


def _name_lines(target: TargetSummary, utility: float | None) -> list[Text]:
    """Return what stands in the first column, line by line."""
    lines = [Text(target.name, style="bold")]
    if utility is not None:
        lines.append(Text(words.number(utility, "utility"), style="dim"))
    budget = words.epsilon_name(target)
    if budget:
        lines.append(Text(budget, style="dim"))
    warning = words.tensor_warning(target)
    if warning:
        lines[0] = Text.assemble(lines[0], "\n", (f"{WARNING} {warning}", "bold red"))
    return lines


def _cells(verdict: Verdict, *, with_fraction: bool) -> list[Text]:
    metric = verdict.metric
    attack = words.attack_on(verdict.attack)
    if with_fraction:
        attack += f", {words.percent(verdict.attack.fraction)}"
    bounds = words.interval(verdict.ci_low, verdict.ci_high, metric)
    glyph = words.GLYPHS.get(verdict.verdict, "")
    return [
        Text(attack),
        Text(words.number(verdict.value, metric)),
        Text(f"{words.shorten(verdict.baseline)} {words.number(verdict.baseline_value, metric)}"),
        Text(f"{words.signed(verdict.excess, metric)} {bounds}"),
        Text(f"{glyph} {verdict.verdict}", style=_STYLES.get(verdict.verdict, "")),
    ]


def _caption(audit: Audit) -> str:
    """Say what was exposed, what is tolerated, and which baselines' tensors are not all loaded."""
    tolerated = {
        v.attack.attribute: f"{words.attribute_name(v.attack.attribute)} {words.number(v.threshold, v.metric)}"
        for v in audit.verdicts
    }
    lines = []
    if tolerated:
        exposed = words.listed([words.percent(f) for f in sorted({v.attack.fraction for v in audit.verdicts})])
        lines.append(f"{exposed} of the training scans exposed. Tolerated excess: {', '.join(tolerated.values())}.")
    metrics = {v.metric: None for v in audit.verdicts}
    meanings = [f"{words.metric_name(m)}{' in years, lower is stronger' if words.in_years(m) else ''}" for m in metrics]
    if meanings:
        lines.append(f"Strength and excess: {'; '.join(meanings)}.")
    deltas = sorted({t.privacy.delta for t in targets(audit) if t.privacy is not None})
    if deltas:
        at = words.listed([f"{delta:.1g}" for delta in deltas], "or")
        lines.append(f"{words.EPSILON}: differential privacy of training, at delta {at}.")
    under_audit = {target.name for target in targets(audit)}
    for other in audit.summaries:
        if other.name not in under_audit and (warning := words.tensor_warning(other)):
            lines.append(f"{WARNING} baseline {other.name}: {warning}.")
    return "\n".join(lines)
