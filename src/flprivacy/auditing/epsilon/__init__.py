"""Empirical epsilon: what attack scores prove about a mechanism's differential privacy, from below.

Scores of canaries that were in the training data and of canaries that were not go in; a lower bound on epsilon comes
out, with its confidence. No model and no file is in sight. A bound above the epsilon that was claimed shows that the
claim is wrong; a bound below it shows nothing: a better attack might have gone further.

.. code-block:: text

    scores            checking scores; the record of a bound
    thresholds        choosing a threshold on the same data, and paying for it (Bonferroni, split)
    clopper_pearson   members and non-members as independent draws; nothing assumed of the mechanism
    gaussian_dp       the same, for mechanisms that are Gaussian at heart; much tighter for those
    guesses           members and non-members as fair coins of one run, and the attacker's guesses at them
    one_run           one run, (epsilon, delta) (arXiv:2305.08846)
    f_dp              one run, a whole trade-off curve (arXiv:2410.22235)
    trade_off         curves: Gaussian, (epsilon, delta), an accountant's profile
"""
