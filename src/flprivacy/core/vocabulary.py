"""The words that configurations, records and command lines share."""

TOPOLOGIES = ("untrained", "siloed", "central", "federated")
PRETRAINED = "pretrained"
BASELINE_TOPOLOGIES = ("untrained", PRETRAINED)
PARTITIONS = ("natural", "iid")
PROTOCOLS = ("standard", "flprivacy-2023")
ACCESSES = ("features", "outputs", "finetune")
