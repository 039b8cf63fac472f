"""What a plan says of its run."""

from flprivacy.presets import load_preset
from flprivacy.study.plan import given_study, repeat_command


def test_a_command_is_the_same_in_whatever_order_kubeflow_hands_its_overrides_over() -> None:
    """It is part of the keys by which finished work is found again."""
    command = repeat_command("study", "demo", {"targets": {"siloed": None, "federated": None}, "audit": {"seed": 3}})
    assert command == repeat_command(
        "study", "demo", {"audit": {"seed": 3}, "targets": {"federated": None, "siloed": None}}
    )
    assert command.startswith("flprivacy run study --preset demo --set audit.seed=3 --set targets.federated=null ")


def test_every_network_has_its_own_baseline_and_answers_without_a_twin_have_none() -> None:
    base = load_preset("demo", {}).study
    given = {"a": "custom", "b": "unknown", "c": "cnn3d"}
    found = given_study(base, given, {name: f"{name}.file" for name in given}).targets
    assert {name: (one.architecture, one.weights) for name, one in found.items()} == {
        "untrained-a": ("custom", "a.file"),
        "untrained-cnn3d": ("cnn3d", ""),
    }
    alone = given_study(base, {"b": "unknown"}, {"b": "b.npz"}).targets
    assert list(alone) == ["untrained-cnn3d_small"]  # a pipeline has at least one baseline
