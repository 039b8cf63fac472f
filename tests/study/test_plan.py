"""What a plan says of its run."""

from flprivacy.study.plan import repeat_command


def test_a_command_is_the_same_in_whatever_order_kubeflow_hands_its_overrides_over() -> None:
    """It is part of the keys by which finished work is found again."""
    command = repeat_command("study", "demo", {"targets": {"siloed": None, "federated": None}, "audit": {"seed": 3}})
    assert command == repeat_command(
        "study", "demo", {"audit": {"seed": 3}, "targets": {"federated": None, "siloed": None}}
    )
    assert command.startswith("flprivacy run study --preset demo --set audit.seed=3 --set targets.federated=null ")
