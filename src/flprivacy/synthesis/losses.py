"""What the two networks minimise: the non-saturating logistic losses (arXiv:1406.2661).

The discriminator's loss of real scans is the cross-entropy of the class "real", which is how private training sees it.
"""

import keras
from keras import ops


def real_loss(logits: keras.KerasTensor) -> keras.KerasTensor:
    """Return (n,) the discriminator's loss of real scans: ``-log sigmoid(logit)``."""
    return ops.softplus(-logits[:, 0])


def fake_loss(logits: keras.KerasTensor) -> keras.KerasTensor:
    """Return (n,) the discriminator's loss of generated scans: ``-log(1 - sigmoid(logit))``."""
    return ops.softplus(logits[:, 0])


def generator_loss(logits: keras.KerasTensor) -> keras.KerasTensor:
    """Return (n,) the generator's loss of the discriminator's logits of its scans: ``-log sigmoid(logit)``."""
    return ops.softplus(-logits[:, 0])


def gradient_penalty(gradient: keras.KerasTensor) -> keras.KerasTensor:
    """Return (n,) half the squared norm of the logits' gradient at real scans (R1, arXiv:1801.04406)."""
    return 0.5 * ops.sum(ops.square(gradient), axis=(1, 2, 3, 4))
