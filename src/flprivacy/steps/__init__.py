"""One function per pipeline step: reads paths, builds configurations, calls the parts, writes paths.

A step never imports kfp: the component of the same name in ``components/`` calls it inside the container.

What the steps take means the same in all of them, unless their own docstring says more:

Args:
    plan: the run's resolved configuration.
    store: location of finished artifacts and checkpoints, keyed by digest.
    overrides: fields to replace, nested as in the preset.
    target_names: of a component, the targets that its step is done on, one after another, separated by commas; each
        output then has a folder for each of them.
    try_again: another number bypasses what a cluster's cache holds of this run; it changes no result.
"""
