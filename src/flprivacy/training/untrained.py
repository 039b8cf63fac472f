"""No training: fresh weights, the baseline for what a network gives away before it has seen any scan."""

import numpy as np

from flprivacy.core.progress import track
from flprivacy.training.topology import Run, TrainedModel


def initialise_untrained(run: Run) -> list[TrainedModel]:
    """Return ``config.initialisations`` models of fresh weights, independent of each other and of every target."""
    nobody = np.empty(0, dtype=np.int64)
    return [
        TrainedModel(name=f"init-{number}", weights=run.initial_weights(number), members=nobody, history=[])
        for number in track(range(run.config.initialisations), f"initialising {run.name}")
    ]
