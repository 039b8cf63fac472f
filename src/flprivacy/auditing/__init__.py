"""What attacks prove: scores in, numbers with intervals and verdicts out. Knows no model, no attack and no file.

.. code-block:: text

    arrays, attributes   the audit of one attack on arrays, and of a study's score tables: audit_attribute(s)
    runs, uncertainty    the repeats of an attack on the same held-out scans; what their intervals are made of
    intervals            intervals of single attacks, within what their metric can be
    baselines, estimates what attacks are held against; metrics, excess over baselines, targets compared
    verdicts             the policy's decisions, over a whole audit
    changes, plots       what changed since the last audit; what the report draws
    anonymous, config    score tables without identifiers; confidence, bootstrap and policy
    epsilon              lower bounds on epsilon from the scores of canaries: audit_epsilon
"""
