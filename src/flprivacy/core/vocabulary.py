"""The words that configurations, records and command lines share."""

TOPOLOGIES = ("untrained", "siloed", "central", "federated")
PRETRAINED = "pretrained"
BASELINE_TOPOLOGIES = ("untrained", PRETRAINED)
PARTITIONS = ("natural", "iid")
PROTOCOLS = ("standard", "flprivacy-2023")
TOGETHER, JOINT = "together", "joint"
ACCESSES = ("features", "outputs", "finetune", TOGETHER, JOINT)
# What an attacker without the scan gets from the model, against the same from untrained weights: what training put in.
# And what one who holds the scan gets from pixels and model jointly, against pixels alone: what the model adds.
TRAINING, HOLDING = "training", "holding"
QUESTIONS = dict.fromkeys(ACCESSES, TRAINING) | {JOINT: HOLDING}
