"""The whole chain from volumes to verdict on known truths: a planted leak is called one, a harmless model is not.

Scans of a site carry a faint keyed pattern (two grey levels, pseudo-random signs) of the same mean, variance and
spectrum at every site. A model with the keys in its weights reads the site off it; without the keys it is noise.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from flprivacy.attacks.baselines import attack_pixels, majority
from flprivacy.attacks.config import AttackConfig
from flprivacy.attacks.frozen import FrozenAttack
from flprivacy.attacks.results import Source, tables
from flprivacy.attacks.scenario import prepare
from flprivacy.auditing.attributes import audit_attributes
from flprivacy.auditing.config import AuditConfig
from flprivacy.core.audit import LEAK, Verdict
from flprivacy.core.cohort import Cohort
from flprivacy.core.scores import ScoreTable
from tests.cohort_builder import build_cohort, cohort_meta, scan_table

SHAPE, SITES, SCANS = (8, 32, 40), 4, 480
CONFIG = AttackConfig(attributes=("site",), accesses=("features",), fractions=(0.25,))
UNITS = 24
FloatArray = npt.NDArray[np.float32]


def _keys() -> FloatArray:
    return np.random.default_rng(1).choice([-1.0, 1.0], size=(SITES, *SHAPE)).astype(np.float32)


def _cohort(folder: Path, amplitude: float) -> Cohort:
    rng = np.random.default_rng(2)
    sites = np.arange(SCANS) % SITES
    table = scan_table(
        SCANS,
        site_id=sites,
        split=np.where(np.arange(SCANS) // SITES % 4 == 3, "test", "train"),
        label=rng.integers(0, 3, SCANS),
        sex=np.where(rng.random(SCANS) < 0.5, "F", "M"),
        age_years=rng.uniform(20, 90, SCANS).round(1),
    )
    meta = cohort_meta(SHAPE, [f"s{i}" for i in range(SITES)], name="planted", classes="abc")
    keys = _keys()

    def volume(scan: int) -> npt.NDArray[np.uint8]:
        own = np.random.default_rng([3, scan])
        anatomy = 120.0 + 25.0 * own.standard_normal() + 15.0 * own.standard_normal(SHAPE)
        return np.clip(np.rint(anatomy + amplitude * keys[sites[scan]]), 0, 255).astype(np.uint8)

    return build_cohort(folder, table, meta, map(volume, range(SCANS)))


def _linear(weights: FloatArray) -> Source:
    """A model of one linear layer: (unit, depth, height, width) weights."""
    flat = weights.reshape(len(weights), -1)

    def forward(inputs: FloatArray) -> dict[str, FloatArray]:
        return {"features": (inputs.reshape(len(inputs), -1) - 0.5) @ flat.T}

    digest = str(float(np.abs(flat).sum())) + str(float(flat[0, :7].sum()))
    return Source(model=f"m{digest[-6:]}", digest=digest, forward=lambda: forward)


def _fresh(seed: int) -> FloatArray:
    return np.random.default_rng([4, seed]).standard_normal((UNITS, *SHAPE)).astype(np.float32)


def _attacked(
    cohort: Cohort, name: str, sources: list[Source], role: str, work: Path
) -> tuple[ScoreTable, pd.DataFrame]:
    scenario = prepare(CONFIG, cohort, protocol="standard")
    done = FrozenAttack(scenario, sources, target=name, work=work / name).run(["features"])
    return tables(scenario, done, target=name, digest=name, role=role, architecture="linear", notes={})


def _verdict(folder: Path, *, amplitude: float, knows_keys: bool) -> Verdict:
    cohort = _cohort(folder / "cohort", amplitude)
    trained = _fresh(0)
    if knows_keys:
        trained[:SITES] = _keys()
    pixels = attack_pixels(CONFIG, cohort, protocol="standard", work=folder / "pixels")
    found = [
        _attacked(cohort, "central", [_linear(trained)], "target", folder),
        _attacked(cohort, "untrained", [_linear(_fresh(seed)) for seed in range(1, 6)], "baseline", folder),
        pixels,
    ]
    tables = [*(table for table, _ in found), majority(CONFIG, cohort)]
    curves = pd.concat([curve for _, curve in found], ignore_index=True)
    verdicts = audit_attributes(tables, curves, config=AuditConfig(bootstrap=300)).verdicts
    assert "leak" not in {v.verdict for v in verdicts if v.question == "memorised"}, "the keys are of no patient's scan"
    (verdict,) = [v for v in verdicts if v.question == "training"]
    return verdict


def test_an_attribute_planted_in_the_weights_is_called_a_leak(tmp_path: Path) -> None:
    verdict = _verdict(tmp_path, amplitude=2.0, knows_keys=True)
    assert verdict.verdict == LEAK
    assert verdict.value > 0.9
    assert verdict.baseline_value < 0.5
    assert verdict.ci_low > 0.3


@pytest.mark.parametrize(("amplitude", "knows_keys"), [(0.0, True), (2.0, False), (0.0, False)])
def test_without_pattern_or_without_keys_nothing_leaks(tmp_path: Path, amplitude: float, knows_keys: bool) -> None:
    verdict = _verdict(tmp_path, amplitude=amplitude, knows_keys=knows_keys)
    assert verdict.verdict != LEAK
    assert verdict.ci_low <= 0.0
