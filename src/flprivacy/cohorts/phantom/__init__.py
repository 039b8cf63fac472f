"""Phantoms: procedural chest CT with known anatomy, disease and scanner, for audits that need no patient's data.

:func:`~flprivacy.cohorts.phantom.generate.phantom_cohort` makes a whole cohort. Anatomy (:mod:`thorax`,
:mod:`trunk`, :mod:`skeleton`, :mod:`mediastinum`,
:mod:`lungs`, :mod:`vessels`) depends on the :class:`~flprivacy.cohorts.phantom.patients.Patient`, disease on the label
(:mod:`disease`), and the look of the scan on the site's :class:`~flprivacy.cohorts.phantom.scanner.Scanner`.

Phantoms show whether an audit finds what was put there. They do not show how much a model of real scans leaks.
"""
