"""flprivacy measures what 3D chest-CT models give away about the people they were trained on."""

__version__ = "0.1.0"
