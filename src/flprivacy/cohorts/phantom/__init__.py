"""Phantoms: procedural chest CT with known anatomy, disease and scanner, for audits that need no patient's data.

    generate     phantom_cohort: plans every scan, renders on all cores, writes the cohort
    config       sites, sizes and strengths of a cohort
    sites        sizes, scanner and case mix of each site
    patients     sex, age, habitus and how they shape the chest
    render       one scan: anatomy, disease and scanner put together
    thorax, wall, mediastinum, lungs    anatomy
    disease      what the label does to the lungs
    scanner      what a site's scanner makes of it
    grid         coordinates and implicit shapes

Phantoms show whether an audit finds what was put there. They do not show how much a model of real scans leaks.
"""
