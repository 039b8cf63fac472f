"""The report as a browser gets it: whole, self-contained, escaped, and with the audit's own numbers."""

import base64
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from example_audit import example_audit, renamed
from report_page import Page, undrawn

import flprivacy.reporting.html as html_module
from flprivacy.core.audit import Audit
from flprivacy.core.errors import StorageError
from flprivacy.reporting import sentences, words
from flprivacy.reporting.findings import verdicts
from flprivacy.reporting.html import render, write_report

SECTIONS = (
    "found", "summary", "baselines", "attacks", "utility", "curves", "confusions", "ages", "models", "numbers",
    "reading", "limits", "left-out", "provenance",
)  # fmt: skip


def test_has_every_section_in_order(page: Page) -> None:
    assert tuple(page.sections) == SECTIONS


def test_refers_to_nothing_outside_itself(page: Page) -> None:
    assert not {"script", "link", "iframe", "object", "embed", "base", "a", "form"} & {tag for tag, _ in page.elements}
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "srcset", "data", "poster", "action", "background"):
                assert value.startswith("data:image/"), (tag, name, value[:60])
    assert "@import" not in page.style
    assert "url(" not in page.style
    assert not re.search(r"https?://", page.style)


def test_images_are_whole_and_refer_to_nothing_outside_themselves(page: Page) -> None:
    images = page.tags("img")
    assert len(images) > 15
    for image in images:
        assert len(image["alt"]) > 20
        kind, _, data = image["src"].partition(";base64,")
        content = base64.b64decode(data, validate=True)
        if kind == "data:image/svg+xml":
            for element in ET.fromstring(content).iter():
                for name, value in element.attrib.items():
                    assert not name.endswith("href") or value.startswith(("#", "data:image/png;base64,"))
        else:
            assert (kind, content[8:12]) == ("data:image/webp", b"WEBP")


def test_is_small_enough_to_mail(report: str) -> None:
    assert len(report) < 3_000_000


def test_every_target_has_its_headline(page: Page, audit: Audit) -> None:
    cards = [a["data-target"] for a in page.tags("article")]
    assert cards == ["siloed", "central", "federated"]
    for headline in sentences.headlines(audit):
        assert headline.sentences in page.sections["found"]
    assert sentences.weak_attacks(audit) in page.sections["found"]
    assert sentences.overall(audit) in page.sections["found"]
    assert sentences.conditions(audit) in " ".join(page.sections["found"].split())


def test_verdict_table_states_the_audits_numbers(page: Page, audit: Audit) -> None:
    table = page.table("verdicts")
    stated = {
        (a["data-target"], a["data-attack"]): row
        for a, row in zip(table.attributes, table.rows, strict=True)
        if "data-target" in a
    }
    assert len(stated) == len(audit.verdicts) == 24
    for v in audit.verdicts:
        digits = 2 if v.metric == "mae_years" else 3
        target, value, value_ci, baseline, excess, ci, p, verdict = stated[
            v.attack.target, f"{v.attack.attribute} {v.attack.access} {v.attack.fraction}"
        ]
        assert target == v.attack.target
        assert float(value) == round(v.value, digits)
        assert _interval(value_ci) == (round(v.value_ci_low, digits), round(v.value_ci_high, digits))
        assert baseline == f"{v.baseline} {v.baseline_value:.{digits}f}"
        assert _number(excess) == round(v.excess, digits)
        assert _interval(ci) == (round(v.ci_low, digits), round(v.ci_high, digits))
        assert p == ("<0.001" if v.p_value < 0.001 else f"{v.p_value:.3f}")
        assert v.verdict in verdict


def _number(text: str) -> float:
    return float(text.replace(words.MINUS, "-"))


def _interval(text: str) -> tuple[float, ...]:
    return tuple(_number(part) for part in text.strip("[]").split(", "))


def test_reasons_are_listed_and_shown_where_the_interval_does_not_explain(small_audit: Audit) -> None:
    (one,) = small_audit.verdicts
    odd = replace(one, verdict="inconclusive", reason="over majority it is only +.01")
    page = Page(undrawn(replace(small_audit, verdicts=(odd,))))
    assert odd.reason in page.table("verdicts").rows[-1][-1]
    plain = replace(odd, ci_low=-0.5)
    page = Page(undrawn(replace(small_audit, verdicts=(plain,))))
    assert odd.reason not in page.table("verdicts").rows[-1][-1]
    assert odd.reason in page.sections["attacks"]


def test_glance_states_every_verdict(page: Page, audit: Audit) -> None:
    heading, *rows = page.table("glance").rows[1:]
    assert heading == ["What training put in, for whoever has no scan"]
    cells = [cell for row in rows for cell in row[2:]]
    assert len(rows) == 6  # three targets, two ways of access
    for v in verdicts(audit):
        amount = f"{words.signed(v.excess, v.metric)}{words.unit(v.metric)}"
        bounds = words.interval(v.ci_low, v.ci_high, v.metric)
        assert f"{words.GLYPHS[v.verdict]} {v.verdict} {amount} {bounds}" in cells


def test_metrics_and_excesses_are_all_there(page: Page, audit: Audit) -> None:
    metrics, excesses = page.table("metrics").rows[1:], page.table("excesses").rows[1:]
    assert len(metrics) == len(audit.metrics)
    assert len(excesses) == len(audit.excesses)
    m, e = audit.metrics[7], audit.excesses[11]
    assert metrics[7] == [
        m.attack.target,
        words.attack_on(m.attack),
        words.percent(m.attack.fraction),
        words.metric_name(m.metric),
        words.number(m.value, m.metric),
        words.interval(m.ci_low, m.ci_high, m.metric),
        "412",
        "303",
        "5",
        str(m.n_models),
    ]
    assert excesses[11][5:7] == [words.signed(e.value, e.metric), words.interval(e.ci_low, e.ci_high, e.metric)]


def test_baselines_are_explained_with_their_strength(page: Page, audit: Audit) -> None:
    text = " ".join(page.sections["baselines"].split())
    for name in ("untrained", "pixels", "majority"):
        assert words.baseline_meaning(name) in text
    pixels = next(
        m for m in audit.metrics if (m.attack.target, m.attack.attribute, m.attack.fraction) == ("pixels", "site", 0.25)
    )
    assert words.number(pixels.value, pixels.metric) in text


def test_siloed_models_have_minimum_mean_and_maximum(page: Page, audit: Audit) -> None:
    table = next(t for t in page.tables if t.name == "models")
    site = next(
        m
        for m in audit.metrics
        if (m.attack.target, m.attack.attribute, m.attack.access, m.attack.fraction, m.metric)
        == ("siloed", "site", "features", 0.25, "f1_weighted")
    )
    low, mean, high = table.rows[1][2:]
    worst = min(site.per_model, key=site.per_model.__getitem__)
    best = max(site.per_model, key=site.per_model.__getitem__)
    assert low == f"{site.per_model[worst]:.3f} {worst}"
    assert mean == f"{site.value:.3f}"
    assert high == f"{site.per_model[best]:.3f} {best}"
    assert sum(row[0] in site.per_model for t in page.tables for row in t.rows) == 21


def test_left_out_scans_are_counted(page: Page) -> None:
    assert page.table("left-out").rows[1:] == [["Sex", "11"], ["Age band", "14"], ["Age in years", "14"]]


def test_limits_are_stated(page: Page) -> None:
    text = " ".join((page.sections["limits"] + page.sections["reading"]).split())
    for claim in ("lower bound", "conditional on the weights", "repeated with 5 attacker seeds", "not corrected"):
        assert claim in text


def test_provenance_is_whole(page: Page, audit: Audit) -> None:
    text = page.sections["provenance"]
    for fact in (audit.provenance["command"], audit.cohort_digest, "3.15.0", "0123456789abcdef", "bootstrap: 1000"):
        assert fact in text


def test_is_ascii_with_charset(tmp_path: Path, small_audit: Audit) -> None:
    path = tmp_path / "new" / "report.html"
    write_report(small_audit, path)
    written = path.read_bytes()
    assert written.isascii()
    assert b'<meta charset="utf-8">' in written[:200]
    assert words.GLYPHS["leak"] in Page(written.decode()).text


def test_same_audit_gives_the_same_bytes(small_audit: Audit, small_report: str) -> None:
    assert render(small_audit) == small_report


def test_failure_leaves_the_old_report(tmp_path: Path, small_audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    broken = replace(small_audit, config={"audit": {1: object()}})
    monkeypatch.setattr(html_module, "as_yaml", lambda config: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(broken, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_unwritable_folder_is_named(tmp_path: Path, small_audit: Audit) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        write_report(small_audit, tmp_path / "file" / "report.html")


EVIL = '<script>alert(1)</script>"><img src=x onerror=alert(2)> $x^2$ {{7*7}}'


def test_nothing_from_the_audit_becomes_markup(small_audit: Audit) -> None:
    audit = renamed(small_audit, {"central": EVIL, "pixels": f"{EVIL} baseline"})
    audit = replace(
        audit,
        name=EVIL,
        cohort_name=EVIL,
        cohort={EVIL: EVIL},
        config={EVIL: [EVIL]},
        left_out={EVIL: 3},
        provenance={"command": EVIL, "versions": {EVIL: EVIL}, EVIL: EVIL},
        targets=tuple(replace(t, notes={EVIL: EVIL}, architecture=EVIL, partition=EVIL) for t in audit.targets),
        verdicts=tuple(replace(v, reason=EVIL, verdict="leak") for v in audit.verdicts),
        confusions=tuple(replace(c, class_names=(EVIL, "b", "c")) for c in audit.confusions),
    )
    page = Page(render(audit))
    assert not page.tags("script")
    assert all(image["src"].startswith("data:image/") for image in page.tags("img"))
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert page.text.count("{{7*7}}") > 10
    assert "49" not in page.sections["found"]
    assert EVIL in page.text


def test_partly_loaded_target_is_flagged_in_every_table() -> None:
    audit = example_audit(n_sites=3, keep=("untrained", "siloed", "pixels"), attributes=("site",), partial="siloed")
    page = Page(undrawn(audit))
    warning = "siloed \N{WARNING SIGN} only 31 of 42 tensors loaded"
    assert "Not a whole model" in page.sections["found"]
    for table in (t for t in page.tables if "facts-table" not in t.name):
        rows = [row[0] for row in table.rows if row and row[0].startswith("siloed")]
        assert all(name.startswith(warning) for name in rows), table.name
    flagged = {table.name for table in page.tables for row in table.rows if row and row[0].startswith(warning)}
    assert {"glance", "verdicts", "metrics", "excesses", "targets"} <= flagged


def test_few_seeds_are_flagged(small_audit: Audit, small_report: str) -> None:
    few = replace(small_audit, metrics=tuple(replace(m, n_seeds=2) for m in small_audit.metrics))
    assert "Only 2 attacker seeds" in Page(undrawn(few)).sections["found"]
    assert "Only" not in Page(small_report).sections["found"]


def _without_utility(audit: Audit) -> Audit:
    return replace(audit, targets=tuple(replace(t, utility=None) for t in audit.targets))


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        (lambda a: replace(a, curves=()), {"curves"}),
        (lambda a: replace(a, confusions=()), {"confusions"}),
        (_without_utility, {"utility"}),
        (lambda a: replace(a, verdicts=(), excesses=()), {"summary", "attacks", "utility"}),
        (
            lambda a: replace(
                a, metrics=(), excesses=(), verdicts=(), confusions=(), curves=(), targets=(), left_out={},
                provenance={}, config={}, cohort={},
            ),
            {"summary", "attacks", "utility", "curves", "confusions", "models", "numbers", "baselines"},
        ),
    ],
    ids=["no curves", "no confusions", "no utility", "no verdicts", "nothing"],
)  # fmt: skip
def test_missing_pieces_leave_no_empty_boxes(small_audit: Audit, change, gone: set[str]) -> None:
    page = Page(undrawn(change(small_audit)))
    assert set(SECTIONS) - {"ages"} - set(page.sections) == gone
    for name, text in page.sections.items():
        assert len(text.split()) > 3, name
    for table in page.tables:
        assert len(table.rows) > 1 - ("narrow" in table.name), table.name
    assert "None" not in page.sections["found"]


def test_one_target_without_baselines() -> None:
    audit = example_audit(n_sites=3, keep=("central",), attributes=("age_years",), fractions=(0.25,))
    page = Page(undrawn(audit))
    assert {"baselines", "summary", "attacks", "models", "confusions"}.isdisjoint(page.sections)
    assert {"curves", "ages", "numbers"} <= set(page.sections)
