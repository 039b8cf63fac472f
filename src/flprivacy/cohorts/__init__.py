"""Cohorts: the folder format, patient splits, exposure sampling, preprocessing and phantoms.

:mod:`~flprivacy.cohorts.format` writes, opens, verifies and reads a cohort folder;
:mod:`~flprivacy.cohorts.sampling` splits patients and draws the scans that an attacker sees;
:mod:`~flprivacy.cohorts.preprocessing` turns stored volumes into what a network takes.
"""
