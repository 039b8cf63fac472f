"""Names of the container images that the components run in, as ``make images`` wrote them to ``images/images.yaml``."""

from images.names import read_names

_NAMES = read_names()
AUDIT_IMAGE = _NAMES["audit"].reference
TRAIN_IMAGE = _NAMES["train"].reference
