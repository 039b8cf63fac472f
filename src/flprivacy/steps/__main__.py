"""Run one step as its container does: ``python -m flprivacy.steps STEP --executor_input JSON``."""

import argparse
from importlib import import_module

from flprivacy.core.tensorflow_environment import keep_freed_memory, take_all_cores
from flprivacy.execution.container import run_in_container
from flprivacy.execution.run_step import read_mounted

# On one machine no other step runs at the same time, as all that come after wait for them.
_ALONE = ("synthesize", "train_generator", "synthesize_cohort", "evaluate_generator")


def main() -> None:
    """Run the step that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m flprivacy.steps", description=__doc__)
    parser.add_argument("step", help="name of the step, which is that of its module and function")
    parser.add_argument("--executor_input", required=True, help="the task, as Kubeflow Pipelines describes it")
    parser.add_argument("--contract", help="whose form of the executor input this is; kfp.local wants it named")
    asked = parser.parse_args()
    read_mounted()
    keep_freed_memory()
    if asked.step in _ALONE:
        take_all_cores()
    module = import_module(f"flprivacy.steps.{asked.step}")
    run_in_container(getattr(module, asked.step), asked.executor_input)


if __name__ == "__main__":
    main()
