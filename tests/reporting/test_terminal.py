"""The terminal's summary: every verdict, in 110 columns, with nothing taken for markup."""

import io
import re
from dataclasses import replace

from example_audit import example_audit
from rich.console import Console

from flprivacy.core.audit import Audit
from flprivacy.reporting import sentences, words
from flprivacy.reporting.advice import family, release
from flprivacy.reporting.asides import not_asked, ranking_lines
from flprivacy.reporting.terminal import headline, summary_table


def _rendered(audit: Audit, width: int, *, colour: bool = False) -> str:
    console = Console(
        width=width, file=io.StringIO(), force_terminal=colour, color_system="standard" if colour else None
    )
    console.print(summary_table(audit))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_every_verdict_is_a_row_at_110_columns(audit: Audit) -> None:
    lines = _rendered(audit, 110).splitlines()
    assert max(map(len, lines)) <= 110
    rows = [line for line in lines if any(glyph in line for glyph in words.GLYPHS.values())]
    assert len(rows) == 24
    for v in audit.verdicts:
        attack = words.attack_on(v.attack)
        numbers = (
            words.number(v.value, v.metric),
            f"{v.baseline} {words.number(v.baseline_value, v.metric)}",
            f"{words.signed(v.excess, v.metric)} {words.interval(v.ci_low, v.ci_high, v.metric)}",
            f"{words.GLYPHS[v.verdict]} {v.verdict}",
        )
        assert any(attack in row and all(n in row for n in numbers) for row in rows), v


def test_target_stands_once_above_its_utility(audit: Audit) -> None:
    lines = _rendered(audit, 110).splitlines()
    (row,) = [i for i, line in enumerate(lines) if line.strip().startswith("central")]
    assert lines[row + 1].strip().startswith("0.912")
    assert "disease AUC" in "".join(lines[:4])


def test_numbers_and_verdicts_stay_whole_at_100_columns(audit: Audit) -> None:
    text = _rendered(audit, 100)
    assert max(map(len, text.splitlines())) <= 100
    for v in audit.verdicts:
        assert f"{words.signed(v.excess, v.metric)} {words.interval(v.ci_low, v.ci_high, v.metric)}" in text


def test_verdicts_are_coloured(audit: Audit) -> None:
    text = _rendered(audit, 110, colour=True)
    assert re.search(r"\x1b\[1;31m\S* leak", text)
    assert re.search(r"\x1b\[33m\S* inconclusive", text)
    assert re.search(r"\x1b\[32m\S* no leak found", text)


def test_caption_says_what_is_tolerated_and_exposed(audit: Audit) -> None:
    text = " ".join(_rendered(audit, 120).split())
    assert "25% of the training scans exposed" in text
    assert "hospital 0.020, sex 0.020, age band 0.020, age in years 0.50" in text


def test_names_are_no_markup() -> None:
    audit = example_audit(
        n_sites=3, attributes=("site",), rename={"central": "[red]central[/red]", "pixels": "[b]p[/b]"}
    )
    text = _rendered(audit, 120)
    assert "[red]central[/red]" in text
    assert "[b]p[/b]" in text


def test_partly_loaded_targets_and_baselines_are_flagged() -> None:
    text = " ".join(_rendered(example_audit(n_sites=3, partial="central"), 120).split())
    assert "\N{WARNING SIGN} only 31 of" in text
    text = " ".join(_rendered(example_audit(n_sites=3, partial="untrained"), 120).split())
    assert "baseline untrained: only 31 of 42 tensors loaded" in text


def test_target_without_verdict_is_not_hidden(audit: Audit) -> None:
    without = replace(audit, verdicts=tuple(v for v in audit.verdicts if v.attack.target != "central"))
    assert re.search(r"central +not judged", _rendered(without, 110))
    assert "not judged" in _rendered(replace(audit, verdicts=()), 110)


def test_one_verdict_still_shows_the_utility(small_audit: Audit) -> None:
    text = _rendered(small_audit, 110)
    assert "0.912" in text
    assert "0.512" in text


def test_headline_is_the_pages(audit: Audit) -> None:
    lines = headline(audit)
    assert lines[:2] == [sentences.overall(audit), release(audit)]
    assert lines[-1] == sentences.conditions(audit)
    assert lines[-3:-1] == [sentences.weak_attacks(audit), family(audit)]
    of_targets = [
        line
        for h in sentences.headlines(audit)
        for line in (f"{words.GLYPHS[h.verdict]} {h.advice}", f"  {h.sentences}")
    ]
    assert lines[2:-3] == [*of_targets, *ranking_lines(audit), not_asked(audit)]
    assert "Not asked, so not answered: what the model adds for whoever holds the scan" in lines[-4]


def test_headline_warns_of_partly_loaded_targets() -> None:
    lines = headline(example_audit(n_sites=3, partial="central"))
    assert [line for line in lines if line.startswith("\N{WARNING SIGN} central: Not a whole model")]
