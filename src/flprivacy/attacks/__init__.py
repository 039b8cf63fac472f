"""Attribute attacks: what a model, or no model at all, tells about a scan's site and its patient's sex and age.

Every attack ends in a :class:`flprivacy.core.scores.ScoreTable` and a small table of per-epoch curves
(columns :data:`flprivacy.attacks.results.CURVE_COLUMNS`); auditing turns them into numbers with intervals.

- :mod:`~flprivacy.attacks.attribute`: the attacks on a target folder, all accesses.
- :mod:`~flprivacy.attacks.baselines`: attackers without a model (pixels, majority).
- :mod:`~flprivacy.attacks.labels`: what is attacked, from the manifest.
- :mod:`~flprivacy.attacks.exposure`: which scans the attacker holds.
- :mod:`~flprivacy.attacks.features`, :mod:`~flprivacy.attacks.cache`: one forward pass a scan, view and model.
- :mod:`~flprivacy.attacks.layers`, :mod:`~flprivacy.attacks.heads`, :mod:`~flprivacy.attacks.grid`: the heads of a
  whole grid, trained together.
- :mod:`~flprivacy.attacks.finetune`: the attacker who trains the trunk too.
- :mod:`~flprivacy.attacks.pixels`: features without a model.
- :mod:`~flprivacy.attacks.results`: finished grids on disk, and score tables from them.
"""
