"""Attack curves: what is drawn is what the audit holds."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex

from flprivacy.core.audit import Audit
from flprivacy.reporting.figures.curves import attack_curves, curves_of
from flprivacy.reporting.figures.style import target_styles


def _curve(audit: Audit, target: str, attribute: str, fraction: float, access: str):
    (found,) = [
        c
        for c in audit.curves
        if (c.attack.target, c.attack.attribute, c.attack.fraction, c.attack.access)
        == (target, attribute, fraction, access)
    ]
    return found


@pytest.mark.parametrize(("attribute", "access"), [("site", "features"), ("sex", "outputs"), ("age_years", "features")])
def test_lines_are_the_curve_means_in_one_panel_per_fraction(audit: Audit, attribute: str, access: str) -> None:
    figure = attack_curves(audit, attribute=attribute, access=access)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "10% of the training scans exposed",
        "25% of the training scans exposed",
    ]
    for axes, fraction in zip(figure.axes, (0.1, 0.25), strict=True):
        lines = {line.get_label(): line for line in axes.get_lines()}
        assert set(lines) == {"siloed", "central", "federated", "untrained", "pixels", "majority"}
        for name in ("siloed", "central", "federated", "untrained", "pixels"):
            curve = _curve(audit, name, attribute, fraction, "none" if name == "pixels" else access)
            np.testing.assert_array_equal(lines[name].get_xdata(), curve.epochs)
            np.testing.assert_array_equal(lines[name].get_ydata(), curve.mean)
        majority = next(m for m in audit.metrics if m.attack.target == "majority" and m.attack.attribute == attribute)
        np.testing.assert_allclose(lines["majority"].get_ydata(), majority.value)


def test_bands_are_the_curves_low_and_high(audit: Audit) -> None:
    axes = attack_curves(audit, attribute="site", access="features").axes[1]
    bands = [c.get_paths()[0].vertices for c in axes.collections if isinstance(c, PolyCollection)]
    assert len(bands) == 5
    central = _curve(audit, "central", "site", 0.25, "features")
    (band,) = [b for b in bands if np.isclose(b[:, 1].max(), max(central.high))]
    for epoch, low, high in zip(central.epochs, central.low, central.high, strict=True):
        at = band[np.isclose(band[:, 0], epoch), 1]
        assert at.min() == pytest.approx(low)
        assert at.max() == pytest.approx(high)


def test_axes_are_labelled_and_shared(audit: Audit) -> None:
    site = attack_curves(audit, attribute="site", access="features")
    assert {axes.get_ylabel() for axes in site.axes} == {"weighted F1"}
    assert {axes.get_xlabel() for axes in site.axes} == {"epochs that the attack has trained"}
    assert site.axes[0].get_ylim() == site.axes[1].get_ylim()
    low, high = site.axes[0].get_ylim()
    assert low >= 0.0
    assert high > low


def test_error_in_years_is_drawn_upside_down(audit: Audit) -> None:
    axes = attack_curves(audit, attribute="age_years", access="features").axes[0]
    low, high = axes.get_ylim()
    assert low > high
    assert "reversed" in axes.get_ylabel()


def test_targets_keep_their_colour_and_baselines_are_grey_and_broken(audit: Audit) -> None:
    styles = target_styles(audit)
    assert len({styles[n].colour for n in ("siloed", "central", "federated")}) == 3
    for access in ("features", "outputs"):
        for axes in attack_curves(audit, attribute="site", access=access).axes:
            for line in axes.get_lines():
                style = styles[line.get_label()]
                assert to_hex(line.get_color()) == style.colour
                assert (line.get_linestyle() == "-") is not style.baseline
    for name in ("untrained", "pixels", "majority"):
        red, green, blue = (int(styles[name].colour[i : i + 2], 16) for i in (1, 3, 5))
        assert max(red, green, blue) - min(red, green, blue) < 40


def test_each_line_is_labelled_with_its_last_value_and_labels_keep_apart(audit: Audit) -> None:
    figure = attack_curves(audit, attribute="site", access="features")
    figure.draw_without_rendering()
    axes = figure.axes[1]
    central = _curve(audit, "central", "site", 0.25, "features")
    assert f"{central.mean[-1]:.3f}  central" in [t.get_text() for t in axes.texts]
    boxes = sorted((t.get_window_extent() for t in axes.texts), key=lambda box: box.y0)
    assert all(below.y1 <= above.y0 + 1.0 for below, above in pairwise(boxes))


def test_metric_that_decides_is_drawn_if_it_has_curves(audit: Audit) -> None:
    macro = tuple(replace(c, metric="f1_macro") for c in audit.curves if c.attack.attribute == "site")
    both = replace(audit, curves=(*macro, *audit.curves))
    assert {c.metric for c in curves_of(both, "site", "features")} == {"f1_weighted"}
    only_macro = replace(audit, curves=macro)
    assert {c.metric for c in curves_of(only_macro, "site", "features")} == {"f1_macro"}
    assert curves_of(replace(audit, curves=()), "site", "features") == ()
