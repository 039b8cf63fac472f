"""Which metrics an attack is judged by. Their values are tested in test_bootstrap.py and core/test_metrics.py."""

import numpy as np
import pytest

from flprivacy.auditing.measures import measure
from flprivacy.auditing.uncertainty import resample_patients
from flprivacy.core.attributes import attribute_of
from tests.auditing.simulation import Attacker, Draw, heavy_tailed

OF_CLASSES = ("f1_weighted", "f1_macro", "balanced_accuracy", "accuracy")
TOP_3, AREA = ("top3_accuracy",), ("auc_ovr",)


@pytest.mark.parametrize(
    ("attribute", "n_classes", "expected"),
    [
        ("site", 21, OF_CLASSES + TOP_3 + AREA),
        ("site", 3, OF_CLASSES + AREA),  # of three sites, three guesses are always right
        ("sex", 2, OF_CLASSES + AREA),
        ("age_band", 4, OF_CLASSES + AREA),
        ("age_years", 0, ("mae_years",)),
    ],
)
def test_metric_names(attribute: str, n_classes: int, expected: tuple[str, ...]) -> None:
    assert attribute_of(attribute).metrics_for(n_classes) == expected


@pytest.mark.parametrize("n_classes", [3, 5])
def test_measured_metrics_are_the_named_ones(n_classes: int) -> None:
    draw = Draw(np.random.default_rng(1), frequencies=heavy_tailed(n_classes), patients=30)
    resampling = resample_patients(draw.patients, replicates=10, seed=0)
    measured = measure(draw.runs(draw.held_out(), "target", draw.scores(Attacker(), models=2)), resampling)
    assert set(measured.values) - set(measured.classes) == set(attribute_of("site").metrics_for(n_classes))
    present = {int(truth) for truth in draw.truth}
    assert set(measured.classes) == ({f"auc_class/class {i}" for i in present} if len(present) > 2 else set())
    assert all(values.shape == (21, 2, 5) for values in measured.values.values())
    assert measured.point("accuracy") == pytest.approx(measured.by_seed("accuracy")[0].mean())


def test_only_a_baseline_of_several_models_is_a_draw_of_initialisations() -> None:
    draw = Draw(np.random.default_rng(1), frequencies=heavy_tailed(3), patients=30)
    resampling, held_out = resample_patients(draw.patients, replicates=10, seed=0), draw.held_out()

    def initialised(name: str, models: int) -> bool:
        return (
            measure(draw.runs(held_out, name, draw.scores(Attacker(), models)), resampling).initialisations(
                "accuracy", 1.0
            )
            != []
        )

    assert initialised("untrained", 3)
    assert not initialised("untrained", 1)
    assert not initialised("target", 3)
