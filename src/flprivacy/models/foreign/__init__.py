"""Checkpoints that other programs wrote: read without running or believing anything in them; refused by TargetError.

:mod:`~flprivacy.models.foreign.checkpoint` finds the named tensors of a ``.keras``, ``.weights.h5`` or legacy ``.h5``
file; :mod:`~flprivacy.models.foreign.naming` matches them with an architecture of ours;
:mod:`~flprivacy.models.foreign.custom` rebuilds a network that is none of ours;
:mod:`~flprivacy.targets.importing` makes a target folder of either.
"""
