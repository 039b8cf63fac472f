"""Which networks keep the promise of differential privacy, and how to mend those that do not."""

from collections.abc import Iterator

import keras
import numpy as np

from flprivacy.core.errors import TrainingError


def validate(model: keras.Model) -> None:
    """Refuse a network that tells more about its training scans than its clipped and noised gradients do.

    Variables that training sets without a gradient, such as moving statistics, are published without noise; loss terms
    of the network's own (regularisers) are clipped together with each scan's gradient. Layers are known by name where
    there is advice to give; whatever else changes in a forward pass in training mode is found by making one.

    Raises:
        TrainingError: naming the layer, the reason and the remedy.
    """
    for layer in _training_batch_norms(model):
        raise TrainingError(
            f"layer {layer.name!r} is a BatchNormalization that trains: it normalises with statistics of the other "
            "scans of a batch and publishes their moving averages without noise, so no scan is private; freeze it "
            "(flprivacy.privacy.compatibility.freeze_batch_normalization) or use GroupNormalization"
        )
    if not model.trainable_variables:
        raise TrainingError("the model has no trainable variable; unfreeze the layers that are to learn")
    _refuse_own_losses(model)
    _refuse_unseen_updates(model)


def is_random_state(variable: keras.Variable) -> bool:
    """Whether a variable is what a random layer draws from: a key and a counter."""
    return not keras.backend.is_float_dtype(variable.dtype) and tuple(variable.shape) == (2,)


def refuse_batch_statistics(model: keras.Model) -> None:
    """Refuse a network with BatchNormalization that trains, whose statistics site-level noise would ruin.

    Raises:
        TrainingError: naming the layer, the reason and the remedy.
    """
    for layer in _training_batch_norms(model):
        raise TrainingError(
            f"layer {layer.name!r} is a BatchNormalization that trains: site-level noise on its moving variances "
            "would make them negative; freeze it or use GroupNormalization, as cnn3d_small does"
        )


def freeze_batch_normalization(model: keras.Model) -> int:
    """Freeze every BatchNormalization layer in place, so that it uses its stored statistics in training too.

    Meant for networks with statistics worth keeping, such as pre-trained ones; call it before the optimizer is built.
    In a network with fresh weights it makes the layers do nothing.

    Returns:
        The number of layers that were trainable before.
    """
    found = _training_batch_norms(model)
    for layer in found:
        layer.trainable = False
    return len(found)


def _training_batch_norms(model: keras.Model) -> list[keras.Layer]:
    norms = (layer for layer in _layers(model) if isinstance(layer, keras.layers.BatchNormalization))
    return [layer for layer in norms if layer.trainable]


def _layers(model: keras.Model) -> Iterator[keras.Layer]:
    """Yield every layer once, those inside nested models and wrappers too."""
    yield from {id(layer): layer for layer in model._flatten_layers(include_self=False, recursive=True)}.values()


def _refuse_own_losses(model: keras.Model) -> None:
    for layer in _layers(model):
        for attribute in ("kernel_regularizer", "bias_regularizer", "activity_regularizer", "embeddings_regularizer"):
            if getattr(layer, attribute, None) is not None:
                raise TrainingError(
                    f"layer {layer.name!r} has a {attribute}: its loss would be clipped together with each scan's "
                    "gradient; remove it, and use the optimizer's weight_decay, which needs no data"
                )


def _refuse_unseen_updates(model: keras.Model) -> None:
    """Make one forward pass in training mode without touching the model, and compare what is not trained."""
    variables = model.non_trainable_variables
    before = [np.array(keras.ops.convert_to_numpy(v)) for v in variables]
    rng = np.random.default_rng(0)
    shape = [1, *model.input_shape[1:]]
    if None in shape:
        raise TrainingError(f"the model's input shape is {model.input_shape}; build it for one shape of scan")
    x = rng.normal(size=shape).astype(np.float32)
    _, after = model.stateless_call(model.trainable_variables, variables, x, training=True)
    for variable, old, new in zip(variables, before, after, strict=True):
        if not is_random_state(variable) and not np.array_equal(old, keras.ops.convert_to_numpy(new)):
            raise TrainingError(
                f"variable {variable.path!r} changes in a forward pass in training mode: it would be published "
                "without noise; freeze its layer or replace it"
            )
