"""Cohorts from where scans live: DICOM series, NIfTI files and the reference study's pickles.

A *source* lists the scans that may be taken (:mod:`~flprivacy.cohorts.importing.dicom`,
:mod:`~flprivacy.cohorts.importing.nifti`, :mod:`~flprivacy.cohorts.importing.pickles`), each with a way to read its
volume; :mod:`~flprivacy.cohorts.importing.build` reads them one by one and writes the cohort and the import report.

Three rules hold throughout. A foreign file is believed only after its claims were bounded and compared with what is
there; nothing in it is executed. Identifiers live in memory while the import runs and leave it as keyed pseudonyms
only; messages name scans by these, and never a path below the folder that the user gave. What cannot be read right
is left out and counted, with the reason; nothing is guessed.
"""
