"""Confusion matrices: colours are row shares, counts are counts."""

from dataclasses import replace

import numpy as np
import pytest

from flprivacy.core.attributes import AttackKey
from flprivacy.core.audit import Audit, ConfusionMatrix
from flprivacy.core.errors import AuditError
from flprivacy.reporting.figures.confusion import confusion_matrix, confusion_overview, confusions_of, row_shares


def _matrix(counts: list[list[float]]) -> ConfusionMatrix:
    names = tuple("abc"[: len(counts)])
    rows = tuple(map(tuple, counts))
    return ConfusionMatrix(
        attack=AttackKey(target="t", attribute="site", access="features", fraction=0.1), class_names=names, counts=rows
    )


def test_row_shares_normalise_the_true_class_not_the_predicted() -> None:
    shares = row_shares(_matrix([[3.0, 1.0], [0.0, 10.0]]))
    np.testing.assert_allclose(shares, [[0.75, 0.25], [0.0, 1.0]])


def test_class_without_scans_has_no_shares() -> None:
    np.testing.assert_array_equal(row_shares(_matrix([[0.0, 0.0], [1.0, 1.0]])), [[0.0, 0.0], [0.5, 0.5]])


def test_overview_has_a_panel_per_target_and_baseline(audit: Audit) -> None:
    figure = confusion_overview(audit, attribute="site", access="outputs")
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_label() != "scale"}
    assert list(panels) == ["siloed", "central", "federated", "untrained", "pixels", "majority"]
    for matrix in confusions_of(audit, "site", "outputs"):
        assert matrix.attack.fraction == 0.25
        image = panels[matrix.attack.target].images[0]
        np.testing.assert_allclose(image.get_array(), row_shares(matrix))
        assert (image.norm.vmin, image.norm.vmax) == (0.0, 1.0)


def test_few_classes_have_their_counts_in_the_overview(audit: Audit) -> None:
    figure = confusion_overview(audit, attribute="sex", access="features")
    central = next(axes for axes in figure.axes if axes.get_title(loc="left") == "central")
    matrix = next(c for c in confusions_of(audit, "sex", "features") if c.attack.target == "central")
    written = {t.get_position(): t.get_text() for t in central.texts if t.get_text().isdigit()}
    assert written == {(j, i): f"{matrix.counts[i][j]:.0f}" for i in range(2) for j in range(2)}
    assert [t.get_text() for t in central.get_yticklabels()] == ["F", "M"]


def test_large_matrix_names_21_sites_and_counts_every_cell(audit: Audit) -> None:
    figure = confusion_matrix(audit, target="central", attribute="site", access="features")
    axes = figure.axes[0]
    matrix = next(c for c in confusions_of(audit, "site", "features") if c.attack.target == "central")
    rows = [t.get_text() for t in axes.get_yticklabels()]
    assert rows[:2] == [f"site-00 (n={sum(matrix.counts[0]):.0f})", f"site-01 (n={sum(matrix.counts[1]):.0f})"]
    assert [t.get_text() for t in axes.get_xticklabels()] == list(matrix.class_names)
    written = {t.get_position(): t.get_text() for t in axes.texts if t.get_text().isdigit()}
    expected = {(j, i): f"{n:.0f}" for i, row in enumerate(matrix.counts) for j, n in enumerate(row) if round(n) > 0}
    assert written == expected
    assert "weighted F1 0.512" in [t.get_text() for t in axes.texts]


def test_type_is_light_on_dark_cells(audit: Audit) -> None:
    axes = confusion_matrix(audit, target="central", attribute="site", access="features").axes[0]
    shares = axes.images[0].get_array()
    colours = {t.get_position(): t.get_color() for t in axes.texts if t.get_text().isdigit()}
    assert colours[0, 0] == "#ffffff"
    assert shares[0, 0] > 0.42 > shares[0, 1]
    assert colours[1, 0] != "#ffffff"


def test_unknown_target_is_refused(audit: Audit) -> None:
    with pytest.raises(AuditError, match="nobody"):
        confusion_matrix(audit, target="nobody", attribute="site", access="features")


def test_without_matrices_of_the_access_there_is_nothing(audit: Audit) -> None:
    only_pixels = replace(audit, confusions=tuple(c for c in audit.confusions if c.attack.access == "none"))
    assert confusions_of(only_pixels, "site", "features") == ()
