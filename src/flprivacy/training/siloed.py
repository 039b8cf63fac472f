"""Siloed training: every site trains a model of its own on its own scans."""

from flprivacy.core.progress import progress
from flprivacy.training.batches import steps_per_epoch
from flprivacy.training.central import train_alone
from flprivacy.training.partition import natural_partition
from flprivacy.training.topology import Run, TrainedModel


def train_siloed(run: Run) -> list[TrainedModel]:
    """Return a model per site, ``site-00`` first, each from fresh weights of its own.

    A site's model does not depend on the other sites: neither on how many there are nor on what they hold.

    Raises:
        TrainingError: a site has no training scan, or a loss is no longer finite.
    """
    sites = natural_partition(run.cohort)
    steps = run.config.epochs * sum(steps_per_epoch(len(s), run.config.batch_size) for s in sites)
    with progress(f"training {run.name}", steps) as counter:
        return [
            train_alone(run, model=f"site-{number:02d}", number=number, members=members, counter=counter)
            for number, members in enumerate(sites)
        ]
