import numpy as np
import pytest
from attack_examples import written_cohort
from target_examples import ARCHITECTURE

from flprivacy.attacks.features import (
    TEST_VIEW,
    Extraction,
    Views,
    answer_features,
    check_answers,
    extract,
    model_forward,
)
from flprivacy.cohorts.format import read_volumes
from flprivacy.cohorts.preprocessing import test_view, train_view, view_keys
from flprivacy.core.errors import AttackError
from flprivacy.models.registry import build


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return written_cohort(tmp_path_factory.mktemp("cohort") / "tiny", scans=48)


@pytest.fixture(scope="module")
def model(cohort):
    return build(ARCHITECTURE, shape=cohort.meta.shape, n_classes=3, seed=1)


def views_of(cohort, protocol="standard", views=2):
    exposed = cohort.rows("train")[::2]
    return Views(cohort=cohort, protocol=protocol, exposed=exposed, scored=cohort.rows("test"), views=views)


def run(forward, views, work, *, source="weights", batch_size=5):
    return extract(lambda: forward, source, views, batch_size=batch_size, work=work, description="test")


@pytest.mark.parametrize("protocol", ["standard", "flprivacy-2023"])
def test_cached_features_are_those_of_one_scan_at_a_time(cohort, model, tmp_path, protocol):
    views = views_of(cohort, protocol)
    run(model_forward(model), views, tmp_path)
    found = run(None, views, tmp_path)  # from the cache: there is no forward pass to call
    for view in range(2):
        for i, row in enumerate(views.exposed[:4]):
            rows = np.array([row])
            keys = view_keys(cohort, rows)
            x = train_view(read_volumes(cohort, rows), protocol=protocol, view=view, keys=keys)
            np.testing.assert_allclose(found.exposed["features"][view, i], model.trunk(x)[0], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(found.exposed["outputs"][view, i], model.model(x)[0], rtol=1e-4, atol=1e-6)
    for i, row in enumerate(views.scored[:4]):
        x = test_view(read_volumes(cohort, np.array([row])), protocol=protocol)
        np.testing.assert_allclose(found.scored["features"][i], model.trunk(x)[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.scored["outputs"][i], model.model(x)[0], rtol=1e-4, atol=1e-6)
    assert (found.exposed["features"][0] != found.exposed["features"][1]).any()


def test_each_scan_and_view_passes_through_the_trunk_once(cohort, tmp_path):
    views, calls = views_of(cohort), []

    def forward(inputs):
        calls.append(len(inputs))
        return {"features": inputs.mean(axis=(1, 2, 3)), "outputs": inputs[:, 0, 0, 0]}

    run(forward, views, tmp_path)
    parts = [len(rows) for _, rows in views.parts()]
    assert parts == [len(views.exposed), len(views.exposed), len(views.scored)]
    assert len(calls) == sum(-(-n // 5) for n in parts)
    run(forward, views, tmp_path)
    assert len(calls) == sum(-(-n // 5) for n in parts)


def test_features_of_other_weights_protocols_or_cohorts_are_not_mistaken(cohort, tmp_path):
    asked = []

    def counting(tag):
        def forward(inputs):
            asked.append(tag)
            return {"features": np.full((len(inputs), 1), len(asked), "f4"), "outputs": inputs[:, 0, 0, 0]}

        return forward

    run(counting("first"), views_of(cohort), tmp_path)
    run(counting("weights"), views_of(cohort), tmp_path, source="other weights")
    run(counting("protocol"), views_of(cohort, "flprivacy-2023"), tmp_path)
    other = written_cohort(tmp_path / "other", scans=48, seed=1)
    run(counting("cohort"), views_of(other), tmp_path)
    assert set(asked) == {"first", "weights", "protocol", "cohort"}


def test_the_forward_function_follows_the_models_weights(cohort, model):
    forward = model_forward(model)
    x = test_view(read_volumes(cohort, np.arange(3)), protocol="standard")
    before = forward(x)["outputs"]
    weight = model.head.weights[0]
    kept = np.asarray(weight)
    weight.assign(kept * -2)
    after = forward(x)["outputs"]
    np.testing.assert_allclose(after, model.model(x), rtol=1e-4, atol=1e-6)
    assert not np.allclose(after, before)
    weight.assign(kept)


def test_the_test_view_is_not_a_training_view(cohort):
    views = views_of(cohort, "flprivacy-2023")
    rows = views.scored[:2]
    assert (views.load(TEST_VIEW, rows) != views.load(0, rows)).any()


def test_answers_are_log_probabilities_finite_at_zero():
    values = answer_features(np.array([[0.0, 1.0], [0.5, 0.5]], "f4"))
    assert values.shape == (2, 16)
    logs = np.log([[1e-7, 1.0], [0.5, 0.5]])
    np.testing.assert_allclose(values[:, :2], logs, rtol=1e-5)
    np.testing.assert_allclose(values[:, 2:4], -logs, rtol=1e-5)
    np.testing.assert_array_equal(values[:, 4:8], values[:, :4])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_answers_that_are_no_numbers_are_refused(value):
    sound, broken = np.ones((1, 4, 3), np.float32), np.ones((4, 3), np.float32)
    broken[2, 1] = value
    for found in (
        Extraction(exposed={"features": sound}, scored={"features": broken}),
        Extraction(exposed={"features": broken[None]}, scored={"features": sound[0]}),
    ):
        with pytest.raises(AttackError, match=r"mine, model: its features of some scans are no numbers; .*input_range"):
            check_answers(found, "mine, model")


def test_features_that_vary_by_rounding_alone_are_constant():
    features = 3.0 + 1e-6 * np.random.default_rng(0).random((5, 4), dtype=np.float32)
    found = Extraction(exposed={"features": features[None]}, scored={"features": features})
    with pytest.raises(AttackError, match="its features are the same for every scan"):
        check_answers(found, "mine, model")
    varied = features + np.arange(5, dtype=np.float32)[:, None] * np.float32(
        [0, 0, 0, 0.01]
    )  # of one feature is enough
    check_answers(Extraction(exposed={"features": varied[None]}, scored={"features": varied}), "mine")
