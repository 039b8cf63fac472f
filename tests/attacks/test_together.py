"""All models of a target in one hand: what answers tell side by side is found, and many answers alone are nothing."""

from functools import partial

import numpy as np
import pytest
from attack_examples import written_cohort
from target_examples import ARCHITECTURE

from flprivacy.attacks.config import AttackConfig
from flprivacy.attacks.features import model_forward
from flprivacy.attacks.frozen import FrozenAttack
from flprivacy.attacks.joint import TogetherAttack, as_together
from flprivacy.attacks.results import Source
from flprivacy.attacks.scenario import prepare
from flprivacy.models.initialisation import initialise
from flprivacy.models.registry import build

CONFIG = AttackConfig(attributes=("site",), fractions=(0.5,), seeds=(0, 1, 2), members=False)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return written_cohort(tmp_path_factory.mktemp("cohort") / "tiny", scans=144, seed=3)


@pytest.fixture(scope="module")
def scenario(cohort):
    return prepare(CONFIG, cohort, protocol="standard")


def strengths(scenario, done):
    """Weighted F1 of each finished attack, by model and seed."""
    return np.array([scenario.strength([one.answers["site"].scores])[0] for one in done])


def texture(inputs):
    """What tells the site: (scan,) log of the spread of voxels where nothing else is, centred and of spread 1."""
    return (np.log(inputs[:, 6:, 10:, :20, 0].std(axis=(1, 2, 3))) + 3.2) / 0.65


def coins(inputs):
    """What tells nothing: (scan, 4) numbers of spread 1, from which of two neighbouring voxels is brighter."""
    flat = inputs[:, 0].reshape(len(inputs), 4, -1, 2)
    return np.sign(flat[..., 0] - flat[..., 1]).mean(axis=-1) * np.sqrt(flat.shape[2])


def answering(share, mask):
    """A model whose one answer is a share of the site, hidden under coins that only the others' answers take off."""

    def forward(inputs):
        logit = share * texture(inputs) + coins(inputs) @ mask
        shares = 1.0 / (1.0 + np.exp(-logit.clip(-15, 15)))
        return {"features": logit[:, None].astype("f4"), "outputs": np.stack([shares, 1 - shares], axis=1).astype("f4")}

    return lambda: forward


def test_what_models_tell_only_side_by_side_is_found(scenario, tmp_path):
    """Three models share one secret: each answer is mostly coins, which the three together cancel."""
    masks = [np.array([4.0, 0, 0, 0]), np.array([0, 4.0, 0, 0]), np.array([-4.0, -4.0, 0, 0])]
    sources = [
        Source(model=f"site-{i}", digest=f"{i}" * 64, forward=answering(0.5, mask)) for i, mask in enumerate(masks)
    ]
    frozen = FrozenAttack(scenario, sources, target="siloed", work=tmp_path)
    alone = strengths(scenario, frozen.run(["outputs"]))
    together = strengths(scenario, TogetherAttack(frozen, "outputs").run())
    print(f"alone {alone.round(3)}, together {together.round(3)}")
    assert alone.mean() < 0.5  # chance is a third
    assert together.mean() > 0.9


def test_known_null_many_untrained_models_tell_no_more_together_than_fresh_features(scenario, cohort, tmp_path):
    """21 models that saw no scan, held against the features of 4 others: the scans' texture tells the site anyway."""

    model = build(ARCHITECTURE, shape=cohort.meta.shape, n_classes=3, seed=0)
    forward = model_forward(model)

    def with_weights_of(seed):
        initialise(model.model, seed)
        return forward

    def attacked(name, seeds):
        sources = [
            Source(model=f"init-{i}", digest=f"{i:02d}" * 32, forward=partial(with_weights_of, i)) for i in seeds
        ]
        return FrozenAttack(scenario, sources, target=name, work=tmp_path)

    together = strengths(scenario, TogetherAttack(attacked("siloed", range(21)), "outputs").run())
    fresh = strengths(scenario, as_together(attacked("fresh", range(30, 34)).run(["features"])))
    print(f"together {together.round(3)}, fresh features {fresh.round(3)}")
    assert together.mean() > 0.4  # there is something that a leak could be mistaken for
    error = np.sqrt(together.var(ddof=1) / len(together) + fresh.var(ddof=1) / len(fresh))
    assert error < 0.06  # so that a gain of .12 would be seen
    assert abs(together.mean() - fresh.mean()) < 2 * error
