"""Training of targets: topology x method x data, composed rather than subclassed.

.. code-block:: text

    train.py         train_target: config + cohort -> published target folder
    topology.py      Run and TrainedModel: what a topology is given and gives back
    pool.py          the training scans; a client's data is a set of indices into them
    batches.py       how an epoch is cut into batches of one fixed size
    method.py        what one optimisation step does: the seam for differential privacy
    adam.py          the plain method: cross-entropy and Adam
    local.py         Learner: one compiled model that trains on one client after another
    partition.py     who holds which scans
    aggregation.py   weighted average of client weights
    central.py, siloed.py, federated.py, untrained.py   one topology each
    draws.py         named random streams
    determinism.py   same bits for the same configuration
    checkpoint.py    what a killed run carries on from
    utility.py       how well a model does the disease task
    publication.py   weights, history, members and target.json

Synthetic scans enter by a larger :class:`~flprivacy.training.pool.Pool` and clients that hold indices into its added
part; differential privacy by another :class:`~flprivacy.training.method.Method`. Neither touches a topology.
"""

from flprivacy.core.tensorflow_environment import prepare_tensorflow

prepare_tensorflow()
