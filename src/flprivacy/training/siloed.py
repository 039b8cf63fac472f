"""Siloed training: every site trains a model of its own on its own scans."""

from flprivacy.core.progress import progress
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
    steps = run.epochs * sum(run.learner.steps(len(s), number) for number, s in enumerate(sites))
    with progress(f"training {run.name}", steps) as counter:
        return [
            train_alone(run, model=f"site-{number:02d}", number=number, members=members, counter=counter)
            for number, members in enumerate(sites)
        ]
