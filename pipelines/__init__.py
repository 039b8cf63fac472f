"""Kubeflow pipelines; each imports components only, and is compiled into ``pipelines/compiled``."""

from pathlib import Path

COMPILED = Path(__file__).with_name("compiled")  # here, because pipelines.compile takes seconds to import
