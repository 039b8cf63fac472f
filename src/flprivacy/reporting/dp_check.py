"""The report of a check of private training: one HTML page, and its table for the terminal."""

from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from flprivacy.core.dp_check import CONTRADICTED, DpCheck
from flprivacy.reporting.figures.canaries import bounds_against_claim, canary_scores
from flprivacy.reporting.figures.style import data_uri
from flprivacy.reporting.html import render_page, write_page
from flprivacy.reporting.provenance import as_yaml, entries

_MEANINGS = {
    "released": "what the released model reveals of a canary: how far its mark, or the network's output for it, moved",
    "same-step": "for an observer of every step who suspects that a unit always takes part in the same step of a pass: "
    "the largest mark over such steps",
}
_KINDS = {
    "gradient": "units whose gradient points along one weight of their own",
    "mislabelled": "real scans with a wrong class",
    "blank-pattern": "empty scans with a pattern of their own",
}


def write_dp_check(check: DpCheck, path: Path) -> None:
    """Write the report of a check, atomically, as one self-contained HTML file.

    Raises:
        StorageError: the folder cannot be created or is not writable.
    """
    provenance = {k: v for k, v in check.provenance.items() if k not in ("training", "dp_events")}
    context = {
        "check": check,
        "contradicted": check.verdict == CONTRADICTED,
        "kind": _KINDS.get(check.canaries, check.canaries),
        "meanings": {name: _MEANINGS.get(name, "") for name in check.scores},
        "bounds_figure": data_uri(bounds_against_claim(check)),
        "scores_figure": data_uri(canary_scores(check)),
        "provenance": entries(provenance),
        "config_yaml": as_yaml({k: check.provenance.get(k) for k in ("training", "dp_events")}),
    }
    write_page(render_page("dp_check.html.j2", context), path)


def check_lines(check: DpCheck) -> list[str]:
    """Return the verdict in plain lines."""
    cases = [
        f"Worst case, {c.name} ({c.what}), {c.trials} trials: {c.verdict}; proven is at least "
        f"{c.bounds[0].epsilon_lower:.3g} where {c.claimed_epsilon:.3g} is claimed."
        for c in check.worst_cases
    ]
    return [f"{check.verdict}: {check.reason}.", f"The claim: {check.claim}.", *cases]


def check_table(check: DpCheck) -> Table:
    """Return the bounds as a rich table, strongest first."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.caption, table.caption_justify = (
        Text(
            f"{check.n_included} {check.canaries} canaries in, {check.n_excluded} out; all bounds hold together with "
            f"{check.confidence:.0%} confidence; claimed epsilon {check.claimed_epsilon:.3g} at delta {check.delta:.1g}"
        ),
        "left",
    )
    for column in ("Bound", "Score", "Assumes"):
        table.add_column(column)
    table.add_column("Epsilon at least", justify="right")
    for bound in check.bounds:
        style = "bold red" if bound.epsilon_lower > check.claimed_epsilon else ""
        value = Text(f"{bound.epsilon_lower:.3f}", style=style)
        table.add_row(Text(bound.method), Text(bound.score), Text(bound.assumes or "nothing"), value)
    return table
