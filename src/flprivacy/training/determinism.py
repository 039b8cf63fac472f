"""Same bits for the same configuration."""

import keras


def require_deterministic_kernels() -> None:
    """Keep TensorFlow on a CPU to kernels that give the same bits on every run with as many threads.

    Costs no measurable time there. It holds for the rest of the process: TensorFlow has no public way back. On a GPU
    it is left alone, since some 3D kernels have no deterministic form and would fail.
    """
    if keras.backend.backend() == "tensorflow" and not keras.distribution.list_devices("gpu"):
        import tensorflow as tf  # not at the top: another Keras backend does without it

        tf.config.experimental.enable_op_determinism()
