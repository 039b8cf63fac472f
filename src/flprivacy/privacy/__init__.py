"""Differential privacy: what training does, what it records, what that costs.

.. code-block:: text

    randomness     generators and seeds named by (stream, seed, key); what the seed must not become
    sampling       Poisson sampling of scans or patients, cut into padded chunks that are never truncated
    gradients      DP-SGD: per-unit clipping, streaming sums, noise once a step, fixed denominator
    compatibility  which networks keep the promise, and how to mend those that do not
    site_level     DP-FedAvg: clipped and noised client updates
    budget         from a budget to each client's sampling rate, noise and steps
    events         what happened, as JSON-able records
    mechanisms     events as dp-accounting's events and as Renyi divergences
    accounting     what the events cost: epsilon at a given delta, or an error
    statement      the guarantee in numbers and words

Describe, then account: training writes events, accounting prices them, and neither knows the other.
"""

from flprivacy.core.tensorflow_environment import prepare_tensorflow

prepare_tensorflow()
