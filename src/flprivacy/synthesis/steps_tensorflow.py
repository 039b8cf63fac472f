"""The compiled updates of generator and discriminator, on TensorFlow."""

from typing import Any

import keras
import tensorflow as tf

from flprivacy.synthesis.augmentation import Draws, augment
from flprivacy.synthesis.draws import Noise
from flprivacy.synthesis.networks import HEAD, TRUNK, fake_loss, generator_loss, gradient_penalty, real_loss

Tensor = Any


class Networks:
    """Generator and discriminator, the running sums of the generator's weights, and how they are updated."""

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        *,
        generator_optimizer: keras.optimizers.Optimizer,
        discriminator_optimizer: keras.optimizers.Optimizer,
        remembers: float,
        penalty: float,
        mismatch: float,
    ) -> None:
        """Compile the updates.

        Args:
            generator, discriminator: the networks that are trained.
            generator_optimizer, discriminator_optimizer: built here.
            remembers: share of the running sums that an update leaves, in [0, 1).
            penalty: weight of R1 in a step that has it.
            mismatch: weight of real scans with mistaken conditions, which are to be told from matching ones.
        """
        self.generator, self.discriminator = generator, discriminator
        self.sums = [keras.Variable(keras.ops.zeros(w.shape), trainable=False) for w in generator.weights]
        self.optimizers = generator_optimizer, discriminator_optimizer
        generator_optimizer.build(generator.trainable_variables)
        discriminator_optimizer.build(discriminator.trainable_variables)
        self._remembers, self._penalty, self._mismatch = remembers, penalty, mismatch
        self.generate = tf.function(self._made, jit_compile=False)
        self.update_generator = tf.function(self._update_generator, jit_compile=False)
        self.update_discriminator = tf.function(self._update_discriminator, jit_compile=False)

    def _made(self, noise: Noise, condition: Tensor) -> Tensor:
        return self.generator([noise.latent, condition, noise.grain], training=True)

    def _update_discriminator(
        self,
        real: Tensor,
        real_condition: Tensor,
        mistaken: Tensor,
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
        trunk, head = self.discriminator.get_layer(TRUNK), self.discriminator.get_layer(HEAD)
        with tf.GradientTape() as tape:
            features = trunk(both, training=True)
            logits = head([features, conditions], training=True)
            loss = tf.reduce_mean(real_loss(logits[:n])) + tf.reduce_mean(fake_loss(logits[n:]))
            total = loss + self._mismatch * _mismatch(head, features[:n], real_condition, mistaken)
            if penalise:
                with tf.GradientTape(watch_accessed_variables=False) as inner:
                    inner.watch(both)
                    answers = tf.reduce_sum(self.discriminator([both[:n], real_condition], training=True))
                slope = inner.gradient(answers, both)[:n]
                total += self._penalty * tf.reduce_mean(gradient_penalty(slope))
        variables = self.discriminator.trainable_variables
        self.optimizers[1].apply(tape.gradient(total, variables), variables)
        return tf.stack([tf.reduce_mean(logits[:n]), tf.reduce_mean(logits[n:]), loss])

    def _update_generator(self, noise: Noise, condition: Tensor, draws: Draws | None) -> Tensor:
        """Update the generator and the running sums of its weights; return its loss."""
        variables = self.generator.trainable_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([v.value for v in variables])
            logits = self.discriminator([augment(self._made(noise, condition), draws), condition], training=True)
            loss = tf.reduce_mean(generator_loss(logits))
        self.optimizers[0].apply(tape.gradient(loss, variables), variables)
        for total, now in zip(self.sums, self.generator.weights, strict=True):
            total.assign(now + self._remembers * (total - now))
        return loss


def _mismatch(head: keras.Model, features: Tensor, conditions: Tensor, mistaken: Tensor) -> Tensor:
    """Return the mean loss of scans with mistaken conditions, where these are not their own all the same."""
    differ = tf.cast(tf.reduce_any(tf.not_equal(mistaken, conditions), axis=1), tf.float32)
    return tf.reduce_mean(differ * fake_loss(head([features, mistaken], training=True)))
