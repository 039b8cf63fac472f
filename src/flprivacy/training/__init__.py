"""Training of targets: topology x method x data, composed rather than subclassed.

.. code-block:: text

    config             how one target comes about
    train              train_target: config + cohort -> target folder
    topology           Run and TrainedModel: what a topology is given and gives back
    alone, federated   the topologies: central, siloed and untrained; FedAvg
    pool               the scans, and who holds which: a client's data is a set of indices into them
    synthetic          synthetic scans in the pool, and which client each joins
    draws              named random streams, and where in a run a pass stands
    method             what one optimisation step does: the seam for differential privacy; Adam on shuffled batches
    dp_sgd             the private method
    private_run        the plan of one private run, and the secret that draws its noise
    local              Learner: one compiled model that trains on one client after another
    canaries           records put in by fair coins, scored after training; gradient_canaries: those without a scan
    worst_cases        many tiny trainings with and without one unit, for what canaries cannot show
    checkpoint         what a killed run carries on from
    utility            how well a model does the disease task
    publication        the target folder: weights and target.json, and the private part that auditors keep
    given_baseline     baselines made from given files

Synthetic scans enter by a larger :class:`~flprivacy.training.pool.Pool` and clients that train on indices into its
added part; differential privacy by another :class:`~flprivacy.training.method.Method`. No topology knows either.
"""

from flprivacy.core.tensorflow_environment import prepare_tensorflow

prepare_tensorflow()
