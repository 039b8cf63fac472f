"""One function per pipeline step: reads paths, builds configurations, calls the parts, writes paths.

A step never imports kfp: the component of the same name in ``components/`` calls it inside the container.
"""
