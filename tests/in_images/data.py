"""A small cohort and three targets on the object store: what an engineer would have published before an audit."""

import os
from dataclasses import dataclass
from pathlib import Path

from flprivacy.cohorts.phantom.config import PhantomConfig
from flprivacy.cohorts.phantom.generate import phantom_cohort
from flprivacy.cohorts.remote import push_cohort
from flprivacy.targets.folder import load_model
from flprivacy.targets.push import push_target
from flprivacy.training.config import TargetConfig
from flprivacy.training.train import train_target
from tests.in_images.objects import Objects

COHORT = "phantom-e2e"
_SHAPE = (8, 32, 40)
_PROTOCOL = "standard"
# The demo's preset, made small.
OVERRIDES = {
    "attack": {"fractions": [0.2, 0.4], "seeds": [0, 1], "epochs": 4, "views": 1, "batch_size": 32},
    "audit": {"bootstrap": 200},
}


@dataclass(frozen=True, kw_only=True)
class Published:
    """Where it lies.

    Attributes:
        cohort: its URI.
        digest: of the cohort.
        targets: name -> location. ``old`` holds the weights of ``central`` as a foreign archive.
    """

    cohort: str
    digest: str
    targets: dict[str, str]


def publish(bucket: str, objects: Objects, environment: dict[str, str], work: Path) -> Published:
    """Make a cohort, train two targets on it, and push all to a bucket, with the storage layer that users use.

    Args:
        bucket: URI of the bucket.
        objects: the store, for the foreign file.
        environment: where the store is and who may write.
        work: empty folder.
    """
    os.environ.update(environment)
    config = PhantomConfig(name=COHORT, scans=120, sites=3, shape=_SHAPE, seed=11)
    cohort = phantom_cohort(config, work / "cohort")
    push_cohort(folder=work / "cohort", uri=f"{bucket}/cohort")
    targets = {}
    for name, epochs in (("central", 2), ("retrained", 6)):
        trained = TargetConfig(topology="central", architecture="cnn3d_small", epochs=epochs)
        folder = work / name
        record = train_target(name, trained, cohort, protocol=_PROTOCOL, work=work / f"{name}-work", out=folder)
        push_target(folder=folder, uri=f"{bucket}/models/{name}")
        targets[name] = f"{bucket}/models/{name}"
        if name == "central":
            load_model(folder, record, record.models[0].name).model.save(work / "old.keras")
    objects.take(work / "old.keras", f"{bucket}/models/old.keras")
    targets["old"] = f"{bucket}/models/old.keras,architecture=cnn3d_small,topology=central"
    return Published(cohort=f"{bucket}/cohort", digest=cohort.meta.digest, targets=targets)
