"""Attribute attacks: what a model, or no model at all, tells about a scan's site and its patient's sex and age.

On arrays, with numpy and scipy alone:

- :mod:`~flprivacy.attacks.arrays`: :func:`~flprivacy.attacks.arrays.attack_features`.
- :mod:`~flprivacy.attacks.answering`: what the attacker of one seed answers, the same for arrays and targets, from a
  :mod:`~flprivacy.attacks.family` of learners among which cross-validation chooses.
- :mod:`~flprivacy.attacks.learner`: the reference study's :mod:`~flprivacy.attacks.heads`, trained from
  :mod:`~flprivacy.attacks.samples` of exposed scans.

On a cohort and its targets. Every attack ends in a :class:`flprivacy.core.scores.ScoreTable` and a small table of
per-epoch curves (columns :data:`flprivacy.core.scores.CURVE_COLUMNS`); auditing turns them into numbers with
intervals.

- :mod:`~flprivacy.attacks.attribute`: the attacks on a target folder, all accesses.
- :mod:`~flprivacy.attacks.baselines`: attackers without a model.
- :mod:`~flprivacy.attacks.joint`: attackers who hold the scan beside the model, or all models of a target.
- :mod:`~flprivacy.attacks.scenario`: what is the same for every model: the attributes, from the manifest, and the scans
  that the attacker holds.
- :mod:`~flprivacy.attacks.features`, :mod:`~flprivacy.attacks.cache`: one forward pass a model, scan and view.
- :mod:`~flprivacy.attacks.frozen`, :mod:`~flprivacy.attacks.finetune`: the attacker who leaves the trunk as it is, and
  the one who trains it on.
- :mod:`~flprivacy.attacks.results`: finished attacks on disk, score tables from them.
"""

from flprivacy.core.tensorflow_environment import prepare_tensorflow

prepare_tensorflow()
