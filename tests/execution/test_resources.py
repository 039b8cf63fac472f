"""Quantities that a form lets through are refused by the first step, by the field's name."""

from pathlib import Path

import pytest

from flprivacy.core.errors import ConfigError
from flprivacy.execution.resources import check_resources
from flprivacy.steps.plan_dp_check import plan_dp_check
from flprivacy.steps.plan_study import plan_study


@pytest.mark.parametrize("cores", ["4", "500m", "0.5", "2.0"])
@pytest.mark.parametrize("size", ["16Gi", "16G", "1.5Ti", "1000000", "500k"])
def test_what_kubernetes_knows_passes(cores: str, size: str) -> None:
    check_resources(train_gpus="0", train_cpu=cores, train_memory=size, work_cpu=cores, work_memory=size)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("train_gpus", ""),
        ("train_gpus", "one"),
        ("train_gpus", "-1"),
        ("train_cpu", ""),
        ("train_cpu", "4 cores"),
        ("train_cpu", "0"),
        ("train_memory", "16GB"),
        ("train_memory", "16 Gi"),
        ("train_memory", ""),
    ],
)
def test_the_plan_names_the_field_and_writes_nothing(name: str, value: str, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    for step in (plan_study, plan_dp_check):
        with pytest.raises(ConfigError, match=f"{name} is '{value}'; give "):
            step(preset="demo", overrides={}, plan=plan, **{name: value})
    assert not plan.exists()
