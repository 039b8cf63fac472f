"""Score tables in, numbers with intervals and verdicts out. Knows no model, no attack and no file.

.. code-block:: text

    runs        the repeats of one attack (models x attacker seeds), on the same held-out scans
    bootstrap   weights that resample patients
    measures    metrics of the runs under all those weights
    variance    patients, attacker seeds and initialisations: what a number's uncertainty is made of
    intervals   from a variance to an interval within the metric's range
    estimates   metrics with intervals
    baselines   which baselines a target is held against, and what is missing
    excess      target minus baseline, paired, with interval and p-value
    verdicts    the policy's word
    confusions, scatters, curves   what the report draws
    anonymous   score tables that may leave the house
    changes     what changed since the last audit, from the score tables of both
    attributes  all of it: :func:`~flprivacy.auditing.attributes.audit_attributes`
"""
