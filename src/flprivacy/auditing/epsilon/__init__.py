"""Empirical epsilon: what the scores of canaries prove about a mechanism's differential privacy, from below.

.. code-block:: text

    audit, bound  several methods together, corrected for choosing the strongest: audit_epsilon; one of them
    independent   canaries as independent draws: Clopper-Pearson, and Gaussian DP
    one_run, f_dp canaries as fair coins of one run: (epsilon, delta), and a whole trade-off curve
"""
