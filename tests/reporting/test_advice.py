"""One sentence a target: what leaks, to whom, what to do; and what a reader must be told before it is believed."""

from dataclasses import replace

import pytest
from example_audit import example_audit
from report_page import Page, undrawn

from flprivacy.core.audit import INCONCLUSIVE, LEAK, NO_LEAK, Audit, Look, TargetSummary, Verdict
from flprivacy.core.target import Utility
from flprivacy.reporting.advice import advice, family, in_short, release, topology_meaning, useless
from flprivacy.reporting.figures.utility import utility_leakage
from flprivacy.reporting.sentences import headlines
from flprivacy.reporting.tables import telling
from flprivacy.reporting.terminal import headline


def looked(verdict: Verdict, *, area: str, **numbers: float) -> Verdict:
    """Return a verdict with looks: its own metric, which says what it says unless the area alone is a leak, and AUC."""
    given = {"excess": 0.12, "ci_low": 0.06, "ci_high": 0.18} | numbers
    own = verdict.verdict if area != LEAK else NO_LEAK
    looks = [
        Look(
            metric=metric, value=0.7, baseline="pixels", baseline_value=0.58, threshold=0.02, p_leak=0.001,
            p_adjusted=0.02, verdict=says, reason="", **given,
        )
        for metric, says in ((verdict.metric, own), ("auc_ovr", area))
    ]  # fmt: skip
    return replace(verdict, looks=tuple(looks))


@pytest.fixture(scope="module")
def sexes() -> Audit:
    """Every target, one attribute, one access: a page of few figures."""
    return example_audit(n_sites=3, attributes=("sex",), accesses=("features",), fractions=(0.25,))


def of(name: str, audit: Audit) -> TargetSummary:
    return next(t for t in audit.targets if t.name == name)


def judged(audit: Audit, **words: str) -> Audit:
    """Return the audit with verdicts on ``central`` from features by attribute, and nothing else."""
    chosen = [v for v in audit.verdicts if (v.attack.target, v.attack.access) == ("central", "features")]
    return replace(
        audit,
        verdicts=tuple(replace(v, verdict=words[v.attack.attribute]) for v in chosen if v.attack.attribute in words),
    )


@pytest.mark.parametrize(
    ("share", "ending"),
    [
        (0.0, "all hospitals' scans."),
        (0.5, "50% of the scans that it was trained on are synthetic; its members are the others."),
        (1.0, "are synthetic; its members are those that their generator learnt from."),
    ],
)
def test_what_a_target_is_says_how_much_of_it_is_synthetic(audit: Audit, share: float, ending: str) -> None:
    meaning = topology_meaning(replace(of("central", audit), synthetic_share=share))
    assert meaning.startswith("One model, trained in one place")
    assert meaning.endswith(ending)


def test_a_leak_says_what_to_whom_and_what_to_do(audit: Audit) -> None:
    found = advice(judged(audit, site=LEAK, sex=NO_LEAK), of("central", audit))
    assert found == (
        "central leaks the hospital that a scan comes from to whoever is given its weights or its features without the "
        "patient's scan: do not give it to anybody; train it again with more protection, or withhold it."
    )


def test_who_learns_what_is_told_apart(audit: Audit) -> None:
    leaks = tuple(
        replace(v, verdict=LEAK)
        for v in audit.verdicts
        if v.attack.target == "central"
        and (v.attack.attribute, v.attack.access) in {("site", "features"), ("site", "outputs"), ("sex", "features")}
    )
    text = advice(replace(audit, verdicts=leaks), of("central", audit))
    assert "the hospital that a scan comes from and the patient's sex to whoever is given its weights" in text
    assert ", and the hospital that a scan comes from to whoever sees its answers" in text


def test_no_leak_is_no_promise(audit: Audit) -> None:
    text = advice(judged(audit, site=NO_LEAK, sex=NO_LEAK), of("central", audit))
    assert (
        "tells whoever is given its weights or its features without the patient's scan nothing that these attacks"
        in text
    )
    assert text.endswith("the policy does not stand against giving it to them.")
    assert "was not judged" in advice(replace(audit, verdicts=()), of("central", audit))


def test_the_page_and_the_terminal_begin_with_it(audit: Audit, page: Page) -> None:
    for one in headlines(audit):
        assert one.advice in page.sections["found"]
        assert any(one.advice in line for line in headline(audit))


def test_a_leak_that_only_the_area_sees_is_told_in_its_numbers(sexes: Audit) -> None:
    only = judged(sexes, sex=LEAK)
    seen = replace(only, verdicts=tuple(looked(v, area=LEAK) for v in only.verdicts))
    (found,) = [h for h in headlines(seen) if h.target == "central"]
    assert "reaches a macro AUC of 0.700, 0.120 higher (95% interval 0.060 to 0.180)" in found.sentences
    assert [look.metric for look in telling(seen.verdicts[0])] == ["auc_ovr"]
    page = Page(undrawn(seen))
    assert "macro AUC: excess +0.120 [0.060, 0.180]" in " ".join(page.sections["attacks"].split())
    assert [row[2] for row in page.table("looks").rows[1:]] == ["weighted F1", "macro AUC"]


def test_a_single_hospital_that_stands_out_is_named_in_the_sentence(sexes: Audit) -> None:
    only = judged(sexes, sex=LEAK)
    (one,) = (looked(v, area=LEAK) for v in only.verdicts)
    looks = (one.looks[0], replace(one.looks[1], metric="auc_class", of_class="Hospital <E>"))
    (found,) = [h for h in headlines(replace(only, verdicts=(replace(one, looks=looks),))) if h.target == "central"]
    assert "reaches for Hospital <E> an AUC of 0.700, 0.120 higher" in found.sentences


def test_how_often_any_verdict_is_a_false_leak_is_said(audit: Audit) -> None:
    together = replace(audit, verdicts=tuple(looked(v, area=v.verdict) for v in audit.verdicts))
    assert (
        family(together)
        == "If nothing leaked, the chance that any of this audit's 24 verdicts is a leak would be at most 5%."
    )
    assert family(together) in headline(together)
    assert "24 verdicts stand alone and are not corrected" in family(audit)  # filed before they were held together
    assert family(replace(audit, verdicts=())) == ""


def guessing(audit: Audit) -> Audit:
    bad = Utility(accuracy=0.3, f1_macro=0.2, auc_ovr=0.447, n_scans=412)
    return replace(audit, targets=tuple(replace(t, utility=bad) if t.name == "siloed" else t for t in audit.targets))


def test_a_model_that_guesses_is_not_called_useful(audit: Audit, sexes: Audit) -> None:
    assert useless(audit) == {}
    found = useless(guessing(audit))
    assert found == {"siloed": "It is of no use: AUC 0.447 on the disease task, where guessing reaches 0.500."}
    page = Page(undrawn(guessing(sexes)))
    assert found["siloed"] in page.sections["utility"]
    assert found["siloed"] in page.sections["found"]
    assert "useful" not in page.sections["utility"]
    assert any(found["siloed"] in line for line in headline(guessing(audit)))
    panel = utility_leakage(guessing(audit)).axes[0]
    assert any(line.get_label() == "guessing" for line in panel.get_lines())
    assert not any(line.get_label() == "guessing" for line in utility_leakage(audit).axes[0].get_lines())


@pytest.mark.parametrize("term", ["Exposed", "Features, answers", "Strength", "Excess", "Seeds", "Weighted F1"])
def test_terms_are_explained_on_the_first_screen(page: Page, term: str) -> None:
    assert term in page.sections["found"]


def test_the_header_says_when_for_whom_and_of_which_cohort(sexes: Audit) -> None:
    text = Page(undrawn(sexes, written="29 November 2026")).text
    head = " ".join(text[: text.index("no model is shown to leak")].split())
    for fact in ("29 November 2026", sexes.cohort_name, "privacy officers", "Confidential"):
        assert fact in head


def test_the_header_says_that_phantoms_are_nobody(sexes: Audit) -> None:
    made = replace(sexes, config={**sexes.config, "cohort": {"name": "phantom-demo", "sites": 3}})
    assert "TEST DATA (phantoms): nobody's scans, not for decisions." in " ".join(Page(undrawn(made)).text.split())
    for given in (sexes, replace(sexes, config={**sexes.config, "cohort": None})):
        assert "TEST DATA" not in undrawn(given)


def test_below_a_models_name_stands_what_it_is(audit: Audit) -> None:
    mixed = replace(of("federated", audit), epsilon=8.0, synthetic_share=0.5)
    assert in_short(mixed) == "hospitals together, differential privacy, 50% synthetic scans"
    assert in_short(of("siloed", audit)) == "one model per hospital"
    assert in_short(TargetSummary(name="bought", role="target")) == ""


def test_paper_unfolds_and_nothing_scrolls(page: Page) -> None:
    paper = page.style[page.style.index("@media print") :]
    assert "details::details-content { content-visibility: visible" in paper
    assert ".scroll, pre { overflow: visible; }" in paper
    assert "white-space: pre-wrap" in paper


def test_what_each_model_is_stands_in_its_card(sexes: Audit) -> None:
    page = Page(undrawn(sexes))
    for meaning in ("One model a hospital", "trained in one place", "by all hospitals together"):
        assert meaning in page.sections["found"]


def test_the_first_line_names_whose_range_nothing_confirms(sexes: Audit) -> None:
    name = next(t.name for t in sexes.targets if t.role == "target")
    targets = tuple(replace(t, unconfirmed="its owner's word") if t.name == name else t for t in sexes.targets)
    first, *lines = headline(replace(sexes, targets=targets))
    assert f"Not confirmed: what {name} was shown rests on the owner's word" in first
    assert any(name in line and "Not confirmed: its owner's word." in line for line in lines)
    assert "Not confirmed" not in headline(sexes)[0]
    cleared = replace(sexes, targets=targets, verdicts=tuple(replace(v, verdict=NO_LEAK) for v in sexes.verdicts))
    assert f", if {name} saw here what training showed." in release(cleared)
    assert "saw here" not in release(replace(cleared, targets=sexes.targets))
    assert f"Not confirmed: what {name} was shown" in Page(undrawn(replace(sexes, targets=targets))).text


def test_the_first_line_names_what_is_in_doubt_and_no_advice_clears_it(sexes: Audit) -> None:
    doubt = "neither its file nor its owner says what it takes; state input_range"
    name = next(t.name for t in sexes.targets if t.role == "target")
    doubted = replace(
        sexes,
        targets=tuple(replace(t, doubt=doubt) if t.name == name else t for t in sexes.targets),
        verdicts=tuple(
            replace(looked(replace(v, verdict=NO_LEAK), area=NO_LEAK), verdict=INCONCLUSIVE)
            if v.attack.target == name
            else v
            for v in sexes.verdicts
        ),
    )
    first, *lines = headline(doubted)
    assert f"In doubt: {name}, for {doubt}." in first
    assert "In doubt" not in headline(sexes)[0]
    own = " ".join(line for line in lines if name in line)
    assert f"{name} cannot be cleared" in own
    assert "patients would settle it" not in own
    lede = Page(undrawn(doubted)).text
    assert f"In doubt: {name}, for {doubt}." in lede
