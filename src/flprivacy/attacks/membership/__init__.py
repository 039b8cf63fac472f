"""Membership attacks: was a scan among those that a model was trained on? Arrays in, one score a scan out.

A higher score is likelier a member. Every attack but the white-box ones reads the same signal, the logit-scaled
confidence in the true class, of the target and of reference models that were trained on some of the scans:

- :mod:`~flprivacy.attacks.membership.signals`: the signal, and what attacks are given.
- By a threshold, without references or with them: :mod:`~flprivacy.attacks.membership.thresholds`.
- With references: :mod:`~flprivacy.attacks.membership.lira`, :mod:`~flprivacy.attacks.membership.rmia`,
  :mod:`~flprivacy.attacks.membership.bavaria`.
- White-box: :mod:`~flprivacy.attacks.membership.white_box`.

Auditing (:mod:`flprivacy.auditing.membership`) turns scores into rates with intervals and a verdict.
"""
