"""Kubeflow pipelines; each imports components only, and is compiled into ``pipelines/compiled``."""
