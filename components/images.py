"""Names of the container images that the components run in."""

VERSION = "0.1.0"
AUDIT_IMAGE = f"flprivacy/audit-python:{VERSION}"
TRAIN_IMAGE = f"flprivacy/train-python:{VERSION}"
