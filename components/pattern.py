"""The pattern of every component: a signature, an image, and a command that runs the step of the same name.

A component's function only declares the step's inputs and outputs; what they mean is in the docstring of the step,
``flprivacy.steps.<name>.<name>``. A compiled step carries neither: on a backend every task carries its component's
whole description, and at fifty targets a run would be too large to be stored.
"""

from collections.abc import Callable
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from images.names import read_names

_NAMES = read_names()
AUDIT_IMAGE = _NAMES["audit"].reference
TRAIN_IMAGE = _NAMES["train"].reference

COMMAND = ["python3", "-m", "flprivacy.steps"]
# kfp.local runs only commands that name kfp's own executor, whose form of the executor input our steps follow.
CONTRACT = ["--contract", "kfp.dsl.executor_main"]


def step_component(image: str) -> Callable[[Callable[..., Any]], BaseComponent]:
    """Make a component of the signature that this decorates; the function is never called.

    Args:
        image: what the step runs in, AUDIT_IMAGE or TRAIN_IMAGE.
    """

    def declare(signature: Callable[..., Any]) -> BaseComponent:
        component = dsl.component(base_image=image, install_kfp_package=False)(signature)
        container = component.component_spec.implementation.container
        container.command = COMMAND
        container.args = [
            signature.__name__,
            "--executor_input",
            dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER,
            *CONTRACT,
        ]
        return component

    return declare
