"""What the report draws: confusion matrices, age scatters and curves."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import confusion_matrix

from flprivacy.auditing.plots import confusions, curves_with_bands, scatters
from flprivacy.auditing.runs import AttackRuns, collect_runs
from flprivacy.core.errors import AuditError
from tests.auditing.score_tables import make_curves, make_study


@pytest.fixture(scope="module")
def runs() -> dict[str, list[AttackRuns]]:
    return collect_runs(make_study())


def test_confusion_is_the_mean_over_seeds_and_models(runs: dict[str, list[AttackRuns]]) -> None:
    siloed = next(r for r in runs["site"] if r.attack.target == "siloed")
    (found,) = confusions([siloed])
    predicted = siloed.scores.argmax(axis=-1)
    expected = np.mean([confusion_matrix(siloed.held_out.truth, p) for by_model in predicted for p in by_model], axis=0)
    np.testing.assert_allclose(found.counts, expected)
    assert np.sum(found.counts) == pytest.approx(siloed.held_out.n_scans)
    assert found.class_names == ("north", "south", "west", "east")


def test_years_have_a_scatter_and_no_confusion(runs: dict[str, list[AttackRuns]]) -> None:
    everything = [r for of_attribute in runs.values() for r in of_attribute]
    assert {c.attack.attribute for c in confusions(everything)} == {"site", "sex", "age_band"}
    assert len(scatters(everything)) == len(runs["age_years"])


def test_scatter_is_the_first_model_s_mean_over_seeds(runs: dict[str, list[AttackRuns]]) -> None:
    siloed = next(r for r in runs["age_years"] if r.attack.target == "siloed")
    (found,) = scatters([siloed])
    pairs = zip(siloed.held_out.truth, siloed.scores[0, :, :, 0].mean(axis=0), strict=True)
    assert np.allclose(sorted(pairs), list(zip(found.truth_years, found.predicted_years, strict=True)), rtol=1e-5)
    assert list(found.truth_years) == sorted(found.truth_years)


def test_curve_band_is_the_t_interval_over_seeds() -> None:
    curves = make_curves()
    (found,) = curves_with_bands(curves.sample(frac=1.0, random_state=0), confidence=0.95)
    assert (found.attack.target, found.attack.attribute, found.attack.access, found.attack.fraction) == (
        "untrained",
        "site",
        "features",
        0.25,
    )
    assert (found.metric, found.epochs) == ("f1_weighted", (0, 1, 2))
    by_seed = curves[curves["epoch"] == 2].groupby("seed")["value"].mean()
    reach = stats.t.ppf(0.975, 4) * by_seed.std() / np.sqrt(5)
    assert (found.low[2], found.mean[2], found.high[2]) == pytest.approx(
        (by_seed.mean() - reach, by_seed.mean(), by_seed.mean() + reach)
    )


def test_curve_band_stays_in_the_metric_s_range() -> None:
    curves = make_curves().assign(value=lambda c: (c["value"] - 0.02).clip(0.0))
    (found,) = curves_with_bands(curves, confidence=0.95)
    assert found.low[0] == 0.0


def test_curves_are_told_apart_by_attack_and_metric() -> None:
    curves = make_curves()
    more = [curves, curves.assign(metric="accuracy"), curves.assign(access="outputs"), curves.assign(fraction=0.1)]
    assert len(curves_with_bands(pd.concat(more), confidence=0.95)) == 4


def test_no_curves() -> None:
    assert curves_with_bands(make_curves().iloc[:0], confidence=0.95) == []


def test_a_curve_without_a_column() -> None:
    with pytest.raises(AuditError, match="column 'epoch' is missing"):
        curves_with_bands(make_curves().drop(columns="epoch"), confidence=0.95)


def test_a_curve_that_lacks_a_point() -> None:
    with pytest.raises(AuditError, match=r"29 points for 5 seed.*needs each epoch once"):
        curves_with_bands(make_curves().iloc[1:], confidence=0.95)


def test_a_curve_with_a_point_twice() -> None:
    curves = make_curves()
    with pytest.raises(AuditError, match="needs each epoch once"):
        curves_with_bands(pd.concat([curves, curves.iloc[:1]]), confidence=0.95)


def test_a_curve_of_one_seed() -> None:
    curves = make_curves()
    with pytest.raises(AuditError, match=r"for 1 seed\(s\)"):
        curves_with_bands(curves[curves["seed"] == 0], confidence=0.95)


def test_a_diverged_curve() -> None:
    with pytest.raises(AuditError, match="not finite"):
        curves_with_bands(make_curves().assign(value=np.nan), confidence=0.95)
