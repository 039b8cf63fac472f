"""Options that several commands share."""

import functools
from collections.abc import Callable
from typing import Any

import click

Action = Callable[..., Any]
PIPELINES = ("study", "privacy_audit", "re_audit", "train_generator", "dp_check")

preset = click.option(
    "--preset", default="", help="Name of a preset, or path of a YAML file [default: demo]. See 'flprivacy presets'."
)
changes = click.option(
    "--set", "changes", multiple=True, metavar="FIELD=VALUE", help="Replace a field of the preset; repeatable."
)
store = click.option(
    "--store",
    default="",
    help="Folder or URI of finished artifacts and checkpoints [default: $FLPRIVACY_STORE, else .flprivacy/store here "
    "and the cluster's own there].",
)
polling = click.option(
    "--poll", type=click.FloatRange(min=0), default=5.0, show_default=True, help="Seconds between updates."
)
_WHAT = {
    "preset": preset,
    "changes": changes,
    "cohort": click.option("--cohort", default="", help="Folder or URI of the cohort (all but study and dp_check)."),
    "targets": click.option(
        "--target", "targets", multiple=True, metavar="NAME=LOCATION", help="A model to audit; repeatable."
    ),
    "targets_from": click.option(
        "--targets-from",
        multiple=True,
        metavar="LOCATION",
        help="Where models are published (re_audit): a folder or URI, of which the newest target folder of each name "
        "counts, or a models:/ URI; repeatable.",
    ),
    "store": store,
    "fail_on_leak": click.option(
        "--fail-on-leak",
        is_flag=True,
        help="Fail if a target leaks more than the policy tolerates, or if a stated epsilon is contradicted.",
    ),
    "fail_on_worse": click.option(
        "--fail-on-worse", is_flag=True, help="Fail if a target has changed for the worse (re_audit)."
    ),
    "values": click.option(
        "--param", "values", multiple=True, metavar="NAME=VALUE", help="Any parameter of the pipeline; repeatable."
    ),
}


def what(function: Action) -> Action:
    """Add the options that say what to run, and hand them over as one ``asked``, a ``RunOptions``."""

    @functools.wraps(function)
    def command(**words: Any) -> Any:
        from flprivacy.launch.parameters import RunOptions

        asked = RunOptions(**{name: words.pop(name) for name in _WHAT})
        return function(asked=asked, **words)

    return _with(command, *_WHAT.values())


def filing(function: Action) -> Action:
    """Add the options that say how a cluster files a run: experiments and service account."""
    return _with(
        function,
        click.option(
            "--experiment",
            envvar="KF_PIPELINES_DEFAULT_EXPERIMENT_NAME",
            default="",
            help="Experiment of the run; created if absent [default: flprivacy-<pipeline>].",
        ),
        click.option(
            "--mlflow-experiment", default="", help="Experiment of the backend's MLflow plugin, if that is enabled."
        ),
        click.option(
            "--service-account",
            envvar="FLPRIVACY_SERVICE_ACCOUNT",
            default="flprivacy-steps",
            show_default=True,
            help='Service account of the steps; "" uses the installation\'s default.',
        ),
    )


def where(function: Action) -> Action:
    """Add ``--host`` and ``--namespace``, and hand them over as ``connect``, which returns the ``Cluster``."""

    @functools.wraps(function)
    def command(host: str, namespace: str, **words: Any) -> Any:
        from flprivacy.cluster.api import connect

        return function(connect=functools.partial(connect, host, namespace), **words)

    return _with(
        command,
        click.option(
            "--host",
            envvar=["KFP_ENDPOINT", "KF_PIPELINES_ENDPOINT"],
            default="",
            help="URL of Kubeflow Pipelines [default: $KFP_ENDPOINT; in a pod: the in-cluster service].",
        ),
        click.option(
            "--namespace",
            envvar="KFP_NAMESPACE",
            default="",
            help="Your profile's namespace, on a multi-user Kubeflow [default: $KFP_NAMESPACE].",
        ),
    )


def watching(function: Action) -> Action:
    """Add ``--wait/--no-wait`` and ``--poll``."""
    return _with(
        function,
        click.option("--wait/--no-wait", default=True, show_default=True, help="Show the steps until the run ends."),
        polling,
    )


def _with(function: Action, *options: Callable[[Action], Action]) -> Action:
    for option in reversed(options):
        function = option(function)
    return function
