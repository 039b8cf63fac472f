"""The smallest generators that are trained in tests."""

from flprivacy.synthesis.config import GeneratorConfig

SHAPE = (6, 18, 20)  # no two alike, and none a multiple of what the networks halve

CONFIG = GeneratorConfig(
    latent=8, width=4, steps=4, batch_size=4, checkpoint_every=2, rounds=2, local_steps=2, r1_every=1
)
