"""One function per pipeline step: reads paths, builds configurations, calls the parts, writes paths.

A step never imports kfp: the component of the same name in ``components/`` calls it inside the container.

What the steps take means the same in all of them, unless their own docstring says more:

Args:
    plan: the run's resolved configuration.
    store: location of finished artifacts and checkpoints, keyed by digest.
    attempt: increment to bypass the cached result on a cluster.
    overrides: fields to replace, nested as in the preset.
    preset_digest: SHA-256 that a preset given as a file must have; empty: any.
"""
