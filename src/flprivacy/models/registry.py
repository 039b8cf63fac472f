"""The architectures by name, and the one way to build them."""

import keras

from flprivacy.core.errors import ConfigError, TargetError, check
from flprivacy.models import cnn3d, cnn3d_small, i3d, slices2d
from flprivacy.models.architecture import (
    Architecture,
    Shape,
    TargetModel,
    bottleneck_head,
    dropout_head,
    linear_head,
    scan_input,
)
from flprivacy.models.initialisation import initialise, undisturbed_random

__all__ = ["ARCHITECTURES", "Architecture", "TargetModel", "build"]

ARCHITECTURES: dict[str, Architecture] = {
    # Inception-v1 inflated to 3D, the reference study's network: 12.3 M parameters, 1024 features
    "i3d": Architecture(i3d.MINIMAL_SHAPE, i3d.i3d_trunk, bottleneck_head),
    # the reference study's residual 3D CNN: 0.4 M parameters, 128 features
    "cnn3d": Architecture(cnn3d.MINIMAL_SHAPE, cnn3d.cnn3d_trunk, dropout_head),
    # MobileNetV2 over eight slices with shared weights: 2.3 M parameters, 64 features a slice
    "slices2d": Architecture(slices2d.MINIMAL_SHAPE, slices2d.slices2d_trunk, bottleneck_head),
    # small residual 3D CNN with GroupNorm, for CPUs and differential privacy: 0.2 M parameters, 128 features
    "cnn3d_small": Architecture(cnn3d_small.MINIMAL_SHAPE, cnn3d_small.cnn3d_small_trunk, linear_head),
}


def build(architecture: str, *, shape: Shape, n_classes: int, seed: int) -> TargetModel:
    """Build a network with fresh weights.

    The weights are a function of the arguments alone: two builds with one seed agree bit for bit, whatever was built
    before and whichever backend Keras runs on. Global seeds are neither read nor changed. The paths of the tensors
    (``model.weights``) are the same in every build.

    Args:
        architecture: name in ARCHITECTURES.
        shape: (depth, height, width) of the scans, in voxels.
        n_classes: classes of the head, at least 2.
        seed: draws the initial weights, not negative.

    Raises:
        ConfigError: an unknown architecture, fewer than two classes or a negative seed.
        TargetError: the scans are too small for the architecture.
    """
    if architecture not in ARCHITECTURES:
        raise ConfigError(f"architecture is {architecture!r}; must be one of {', '.join(ARCHITECTURES)}")
    check(n_classes >= 2, "n_classes", n_classes, "must be at least 2")
    check(seed >= 0, "seed", seed, "must not be negative")
    parts = ARCHITECTURES[architecture]
    if len(shape) != 3 or any(size < least for size, least in zip(shape, parts.minimal_shape, strict=True)):
        raise TargetError(
            f"shape is {tuple(shape)}; {architecture} needs (depth, height, width) of at least {parts.minimal_shape} "
            "voxels; choose another architecture or a cohort of larger volumes"
        )
    shape = (int(shape[0]), int(shape[1]), int(shape[2]))
    with undisturbed_random():
        trunk = parts.trunk(shape)
        head = parts.head(trunk.output_shape[-1], n_classes)
        scan = scan_input(shape)
        model = keras.Model(scan, head(trunk(scan)), name=architecture)
        initialise(model, seed)
    return TargetModel(trunk=trunk, head=head, model=model, architecture=architecture, shape=shape, n_classes=n_classes)
