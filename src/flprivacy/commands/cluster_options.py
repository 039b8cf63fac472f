"""Options that commands on a cluster share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
PIPELINES = ("study", "privacy_audit", "dp_check", "re_audit")


def where(function: F) -> F:
    """Add ``--host`` and ``--namespace``."""
    host = click.option(
        "--host",
        envvar=["KFP_ENDPOINT", "KF_PIPELINES_ENDPOINT"],
        default="",
        help="URL of Kubeflow Pipelines [default: $KFP_ENDPOINT; in a pod: the service's].",
    )
    namespace = click.option(
        "--namespace",
        envvar="KFP_NAMESPACE",
        default="",
        help="Your profile's namespace, where Kubeflow serves several users [default: $KFP_NAMESPACE].",
    )
    return host(namespace(function))


def what(function: F) -> F:
    """Add what a run is made of: preset, fields, cohort, targets, store, parameters, experiment, account."""
    options = (
        click.option("--preset", default="", help="Name of a preset, or path of a YAML file [default: demo]."),
        click.option(
            "--set", "changes", multiple=True, metavar="FIELD=VALUE", help="Replace a field of the preset; may repeat."
        ),
        click.option("--cohort", default="", help="URI of the cohort (privacy_audit, re_audit)."),
        click.option(
            "--target", "targets", multiple=True, metavar="NAME=LOCATION", help="A model to audit; may repeat."
        ),
        click.option(
            "--targets-from",
            multiple=True,
            metavar="LOCATION",
            help="Where targets are published: a prefix of target folders, or an MLflow URI (re_audit); may repeat.",
        ),
        click.option("--store", default="", help="URI of finished artifacts and checkpoints [default: the cluster's]."),
        click.option("--fail-on-leak", is_flag=True, help="Let the run fail on a leak, or on a contradicted epsilon."),
        click.option("--fail-on-worse", is_flag=True, help="Let the run fail on a change for the worse (re_audit)."),
        click.option(
            "--param", "values", multiple=True, metavar="NAME=VALUE", help="Any parameter of the pipeline; may repeat."
        ),
        click.option(
            "--experiment",
            envvar="KF_PIPELINES_DEFAULT_EXPERIMENT_NAME",
            default="",
            help="Experiment of the run; made if absent [default: flprivacy-<pipeline>].",
        ),
        click.option(
            "--mlflow-experiment", default="", help="Experiment of the backend's MLflow plugin, where that is on."
        ),
        click.option(
            "--service-account",
            envvar="FLPRIVACY_SERVICE_ACCOUNT",
            default="flprivacy-steps",
            show_default=True,
            help='Service account of the steps; "" takes the installation\'s.',
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def watching(function: F) -> F:
    """Add ``--wait/--no-wait`` and ``--poll``."""
    wait = click.option("--wait/--no-wait", default=True, show_default=True, help="Show the steps until the run ends.")
    poll = click.option(
        "--poll", type=click.FloatRange(min=0), default=5.0, show_default=True, help="Seconds between looks at the run."
    )
    return wait(poll(function))
