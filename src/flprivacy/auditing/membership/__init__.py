"""What membership attacks prove: scores of members and non-members in, rates with intervals and a verdict out.

.. code-block:: text

    audit     the audit of a target's members by all attacks, by group, and who is most exposed: audit_membership
    rates     true positive rates at low false positive rates, with exact intervals; ROC curves; areas by patients
    verdict   what the policy says, corrected for the number of attacks
    sites     whether hospitals took part: audit_site_membership; of references on halves of them, audit_site_references
"""
