"""Kubeflow Pipelines components, one folder a step: thin wrappers on the functions of flprivacy.steps."""
