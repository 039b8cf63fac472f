"""The compiled updates of generator and discriminator, on TensorFlow."""

from typing import Any

import keras
import tensorflow as tf

from flprivacy.synthesis.augmentation import Draws, augment
from flprivacy.synthesis.draws import Noise
from flprivacy.synthesis.losses import fake_loss, generator_loss, gradient_penalty, real_loss

Tensor = Any


class Networks:
    """Generator and discriminator, the running mean of the generator's weights, and how they are updated."""

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        published: keras.Model,
        *,
        generator_optimizer: keras.optimizers.Optimizer,
        discriminator_optimizer: keras.optimizers.Optimizer,
        remembers: float,
        penalty: float,
    ) -> None:
        """Compile the updates.

        Args:
            generator, discriminator: the networks that are trained.
            published: a generator whose weights are the running mean.
            generator_optimizer, discriminator_optimizer: built here.
            remembers: share of the running mean that an update leaves, in [0, 1).
            penalty: weight of R1 in a step that has it.
        """
        self.generator, self.discriminator, self.published = generator, discriminator, published
        self.optimizers = generator_optimizer, discriminator_optimizer
        generator_optimizer.build(generator.trainable_variables)
        discriminator_optimizer.build(discriminator.trainable_variables)
        self._remembers, self._penalty = remembers, penalty
        self.generate = tf.function(self._made, jit_compile=False)
        self.update_generator = tf.function(self._update_generator, jit_compile=False)
        self.update_discriminator = tf.function(self._update_discriminator, jit_compile=False)

    def _made(self, noise: Noise, condition: Tensor) -> Tensor:
        return self.generator([noise.latent, condition, noise.grain], training=True)

    def _update_discriminator(
        self,
        real: Tensor,
        real_condition: Tensor,
        noise: Noise,
        condition: Tensor,
        draws: Draws | None,
        *,
        penalise: bool,
    ) -> Tensor:
        """Update the discriminator; return mean logits of real and of generated scans, and its loss."""
        both = augment(tf.concat([real, self._made(noise, condition)], axis=0), draws)
        conditions = tf.concat([real_condition, condition], axis=0)
        n = tf.shape(real)[0]
        with tf.GradientTape() as tape:
            logits = self.discriminator([both, conditions], training=True)
            loss = tf.reduce_mean(real_loss(logits[:n])) + tf.reduce_mean(fake_loss(logits[n:]))
            total = loss
            if penalise:
                with tf.GradientTape(watch_accessed_variables=False) as inner:
                    inner.watch(both)
                    answers = tf.reduce_sum(self.discriminator([both[:n], real_condition], training=True))
                slope = inner.gradient(answers, both)[:n]
                total = loss + self._penalty * tf.reduce_mean(gradient_penalty(slope))
        variables = self.discriminator.trainable_variables
        self.optimizers[1].apply(tape.gradient(total, variables), variables)
        return tf.stack([tf.reduce_mean(logits[:n]), tf.reduce_mean(logits[n:]), loss])

    def _update_generator(self, noise: Noise, condition: Tensor, draws: Draws | None) -> Tensor:
        """Update the generator and the running mean of its weights; return its loss."""
        variables = self.generator.trainable_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([v.value for v in variables])
            logits = self.discriminator([augment(self._made(noise, condition), draws), condition], training=True)
            loss = tf.reduce_mean(generator_loss(logits))
        self.optimizers[0].apply(tape.gradient(loss, variables), variables)
        for mean, now in zip(self.published.weights, self.generator.weights, strict=True):
            mean.assign(now + self._remembers * (mean - now))
        return loss
