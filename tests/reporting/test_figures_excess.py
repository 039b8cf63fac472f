"""The forest plot and utility against leakage: every verdict, where its numbers put it."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex

from flprivacy.core.audit import Audit
from flprivacy.core.target import Utility
from flprivacy.reporting.figures.forest import excess_forest
from flprivacy.reporting.figures.style import VERDICT_COLOURS, target_styles
from flprivacy.reporting.figures.utility import utility_leakage
from flprivacy.reporting.findings import utilities, verdicts
from flprivacy.reporting.words import access_name


def _marks(axes):
    return [line for line in axes.get_lines() if line.get_marker() not in ("None", "", None)]


def _ranges(axes, along: str):
    bars = [line for line in axes.get_lines() if line.get_marker() in ("None", "", None) and len(line.get_xdata()) == 2]
    get = (lambda line: line.get_xdata()) if along == "x" else (lambda line: line.get_ydata())
    return [tuple(get(line)) for line in bars]


def test_forest_has_a_row_per_verdict_with_interval_and_colour(audit: Audit) -> None:
    figure = excess_forest(audit, question="training")
    attributes = ("site", "sex", "age_band", "age_years")
    assert [a.get_title(loc="left") for a in figure.axes] == ["Hospital", "Sex", "Age band", "Age in years"]
    for axes, attribute in zip(figure.axes, attributes, strict=True):
        rows = [v for v in verdicts(audit) if v.attack.attribute == attribute]
        names = [t.get_text() for t in axes.get_yticklabels()]
        marks = _marks(axes)
        assert len(marks) == len(names) == len(rows) == 6
        texts = [t.get_text() for t in axes.texts]
        for v in rows:
            y = names.index(f"{v.attack.target}, {access_name(v.attack.access)}")
            assert marks[y].get_xdata()[0] == v.excess
            assert marks[y].get_ydata()[0] == y
            assert to_hex(marks[y].get_color()) == VERDICT_COLOURS[v.verdict]
            assert (v.ci_low, v.ci_high) in _ranges(axes, "x")
            assert v.verdict in texts


def test_forest_marks_differ_by_shape_not_colour_alone(audit: Audit) -> None:
    fills = {}
    figure = excess_forest(audit, question="training")
    for axes, attribute in zip(figure.axes, ("site", "sex", "age_band", "age_years"), strict=True):
        names = [t.get_text() for t in axes.get_yticklabels()]
        for v in (v for v in audit.verdicts if v.attack.attribute == attribute):
            fills.setdefault(v.verdict, set()).add(
                _marks(axes)[names.index(f"{v.attack.target}, {access_name(v.attack.access)}")].get_fillstyle()
            )
    assert fills == {"leak": {"full"}, "inconclusive": {"left"}, "no leak found": {"none"}}


def test_forest_draws_the_tolerated_excess(audit: Audit) -> None:
    for axes, threshold in zip(excess_forest(audit, question="training").axes, (0.02, 0.02, 0.02, 0.5), strict=True):
        (line,) = [line for line in axes.get_lines() if line.get_label() == "tolerated"]
        assert set(line.get_xdata()) == {threshold}


def test_forest_panels_of_one_metric_share_their_axis_and_years_do_not(audit: Audit) -> None:
    site, sex, band, years = (axes.get_xlim() for axes in excess_forest(audit, question="training").axes)
    assert site == sex == band
    assert years != site


def test_utility_puts_each_verdict_at_its_auc_and_excess(audit: Audit) -> None:
    figure = utility_leakage(audit)
    auc = {t.name: t.utility.auc_ovr for t in audit.targets if t.utility}
    styles = target_styles(audit)
    assert [a.get_title(loc="left") for a in figure.axes] == ["Hospital", "Sex", "Age band", "Age in years"]
    for axes, attribute in zip(figure.axes, ("site", "sex", "age_band", "age_years"), strict=True):
        marks = {line.get_label(): line for line in _marks(axes)}
        assert len(marks) == 6
        for v in (v for v in audit.verdicts if v.attack.attribute == attribute):
            mark = marks[f"{v.attack.target}/{v.attack.access}"]
            assert mark.get_ydata()[0] == v.excess
            assert mark.get_xdata()[0] == pytest.approx(auc[v.attack.target], abs=0.002)
            assert (v.ci_low, v.ci_high) in _ranges(axes, "y")
            assert to_hex(mark.get_color()) == styles[v.attack.target].colour
        assert "AUC" in axes.get_xlabel()
        assert {"siloed", "central", "federated"} <= {t.get_text() for t in axes.texts}


def test_utility_is_accuracy_where_an_auc_is_missing(audit: Audit) -> None:
    none = Utility(accuracy=0.5, f1_macro=0.4, auc_ovr=None, n_scans=10)
    mixed = replace(audit, targets=tuple(replace(t, utility=none) if t.name == "siloed" else t for t in audit.targets))
    name, values = utilities(mixed)
    assert name == "accuracy"
    assert values == pytest.approx({"siloed": 0.5, "central": 0.782, "federated": 0.764})


def test_target_of_unknown_utility_is_left_out(audit: Audit) -> None:
    without = replace(
        audit, targets=tuple(replace(t, utility=None) if t.name == "siloed" else t for t in audit.targets)
    )
    labels = {line.get_label() for axes in utility_leakage(without).axes for line in _marks(axes)}
    assert labels == {"central/features", "central/outputs", "federated/features", "federated/outputs"}


def test_targets_of_equal_utility_do_not_coincide(audit: Audit) -> None:
    same = Utility(accuracy=0.7, f1_macro=0.7, auc_ovr=0.9, n_scans=10)
    equal = replace(audit, targets=tuple(replace(t, utility=same if t.utility else None) for t in audit.targets))
    for axes in utility_leakage(equal).axes:
        places = [line.get_xdata()[0] for line in _marks(axes)]
        assert len({round(x, 6) for x in places}) == 6
        assert np.mean(places) == pytest.approx(0.9)


def test_one_target_alone_has_a_finite_axis(small_audit: Audit) -> None:
    (axes,) = utility_leakage(small_audit).axes
    assert np.isfinite(axes.get_xlim()).all()
    assert axes.get_xlim()[0] < 0.912 < axes.get_xlim()[1]
