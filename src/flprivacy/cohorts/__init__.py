"""Cohorts: scans of many sites, with what is known about each patient, as a folder or a URI.

format         write, open, verify and read a cohort folder
manifest, metadata, volumes, selection    its parts, each with its rules
remote         a cohort elsewhere: look at it, bring the rows that are needed, publish
sampling       split patients, draw the scans that an attacker sees
preprocessing  from stored volumes to what a network takes
importing      from DICOM, NIfTI and the reference study's pickles
export         to NIfTI files, for a viewer
phantom        procedural scans that need no patient
"""
