import json
import math

import pytest

from flprivacy.core.errors import ConfigError
from flprivacy.core.parsing import from_mapping, to_mapping
from flprivacy.privacy.events import SampledGaussianSteps

EVENT = SampledGaussianSteps(
    steps=100, sampling_rate=0.1, noise_multiplier=1.0, clip_norm=0.5, unit="scan", population=300, client="site-03"
)


def test_an_event_survives_json():
    assert from_mapping(SampledGaussianSteps, json.loads(json.dumps(to_mapping(EVENT), allow_nan=False))) == EVENT


def test_a_run_that_stopped_states_its_steps():
    assert EVENT.with_steps(7).steps == 7
    assert EVENT.with_steps(7).with_steps(100) == EVENT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise_multiplier": 0.0}, "noise_multiplier is 0.0"),
        ({"noise_multiplier": math.inf}, "noise_multiplier is inf"),
        ({"noise_multiplier": math.nan}, "noise_multiplier is nan"),
        ({"clip_norm": 0.0}, "clip_norm is 0.0"),
        ({"sampling_rate": 0.0}, "sampling_rate is 0.0"),
        ({"sampling_rate": 1.1}, "sampling_rate is 1.1"),
        ({"steps": -1}, "steps is -1"),
        ({"unit": "hospital"}, "unit is 'hospital'"),
        ({"population": 0}, "population is 0"),
        ({"scans_per_patient": 0}, "scans_per_patient is 0"),
        ({"mechanism": "shuffled-gaussian"}, "mechanism is 'shuffled-gaussian'"),
        ({"steps": 1.5}, "steps: expected int, got 1.5"),
        ({"noise_multiplier": "1"}, "noise_multiplier: expected float, got '1'"),
        ({"truncated": True}, "unknown field 'truncated'"),
    ],
)
def test_what_cannot_be_priced_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        from_mapping(SampledGaussianSteps, to_mapping(EVENT) | change)
