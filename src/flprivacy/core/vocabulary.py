"""The words that configurations, records and command lines share."""

TOPOLOGIES = ("untrained", "siloed", "central", "federated")
PRETRAINED = "pretrained"
BASELINE_TOPOLOGIES = ("untrained", PRETRAINED)
PARTITIONS = ("natural", "iid")
PATIENTS, SITES = "patients", "sites"  # what a reference model is trained on half of
PROTOCOLS = ("standard", "flprivacy-2023")
TOGETHER, JOINT = "together", "joint"
ACCESSES = ("features", "outputs", "finetune", TOGETHER, JOINT)
# The questions that an audit answers, each by attacks and baselines of its own and with a verdict of its own.
TRAINING, HOLDING, MEMORISED = "training", "holding", "memorised"
QUESTIONS = {
    TRAINING: "what training put in, for whoever has no scan",
    HOLDING: "what the model adds for whoever holds the scan",
    MEMORISED: "what the model remembers of its own training patients",
}
