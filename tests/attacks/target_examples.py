"""Tiny target folders for the tests of attacks."""

from flprivacy.core.digests import digest_file
from flprivacy.core.parsing import to_mapping
from flprivacy.core.publish import write_json
from flprivacy.core.target import TARGET_FILE, ModelRecord, TargetRecord
from flprivacy.models.registry import build
from flprivacy.models.weights import save_weights

ARCHITECTURE = "cnn3d_small"


def write_target(folder, cohort, *, names=("model",), role="target", topology="central"):
    """A target whose models have fresh weights, drawn from seeds 1, 2 ..."""
    folder.mkdir(parents=True)
    shape, n_classes = cohort.meta.shape, len(cohort.meta.class_names)
    models = []
    for seed, name in enumerate(names, start=1):
        model = build(ARCHITECTURE, shape=shape, n_classes=n_classes, seed=seed)
        file = f"{name}.weights.h5"
        save_weights(model, folder / file)
        models.append(ModelRecord(name=name, weights=file, sha256=digest_file(folder / file), n_train=10))
    record = TargetRecord(
        name=folder.name,
        role=role,
        topology=topology,
        architecture=ARCHITECTURE,
        shape=shape,
        n_classes=n_classes,
        protocol="standard",
        digest="d" * 64,
        models=tuple(models),
        tensors_matched=7,
        tensors_total=7,
    )
    write_json(folder / TARGET_FILE, to_mapping(record))
    return record
