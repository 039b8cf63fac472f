"""Age scatter: the audit's pairs, the line of a perfect guess, the audit's error."""

from dataclasses import replace

import numpy as np

from flprivacy.core.audit import Audit
from flprivacy.reporting.figures.scatter import age_scatter, scatters_of


def test_points_are_true_age_against_predicted(audit: Audit) -> None:
    figure = age_scatter(audit, access="features")
    scatters = {
        s.attack.target: s
        for s in audit.scatters
        if s.attack.fraction == 0.25 and s.attack.access in ("features", "none")
    }
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "siloed", "central", "federated", "untrained", "pixels", "majority",
    ]  # fmt: skip
    for axes in figure.axes:
        scatter = scatters[axes.get_title(loc="left")]
        points = axes.collections[0].get_offsets()
        np.testing.assert_array_equal(points[:, 0], scatter.truth_years)
        np.testing.assert_array_equal(points[:, 1], scatter.predicted_years)
        assert "true" in axes.get_xlabel()
        assert "predicted" in axes.get_ylabel()


def test_perfect_guess_is_the_diagonal_of_a_square(audit: Audit) -> None:
    for axes in age_scatter(audit, access="outputs").axes:
        (line,) = axes.get_lines()
        np.testing.assert_array_equal(line.get_xdata(), line.get_ydata())
        assert axes.get_xlim() == axes.get_ylim()
        box = axes.get_position()
        width, height = axes.figure.get_size_inches()
        np.testing.assert_allclose(box.width * width, box.height * height)


def test_error_is_the_audits(audit: Audit) -> None:
    central = next(a for a in age_scatter(audit, access="features").axes if a.get_title(loc="left") == "central")
    assert [t.get_text() for t in central.texts] == ["mean absolute error 10.00 years"]


def test_without_metrics_the_error_is_that_of_the_points(audit: Audit) -> None:
    bare = replace(audit, metrics=())
    central = next(s for s in scatters_of(bare, "features") if s.attack.target == "central")
    error = np.mean(np.abs(np.subtract(central.truth_years, central.predicted_years)))
    axes = next(a for a in age_scatter(bare, access="features").axes if a.get_title(loc="left") == "central")
    assert [t.get_text() for t in axes.texts] == [f"mean absolute error of these points {error:.2f} years"]
