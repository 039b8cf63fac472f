"""``flprivacy cluster``: does an installation of Kubeflow Pipelines fit, before the first run?"""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from flprivacy.core.errors import ConfigError

if TYPE_CHECKING:
    from flprivacy.cluster.fit.looked_at import Asked, Line

_MARKS = {"fits": "✓", "note": "!", "mend": "✗", "not read": "?"}
_ASKED = ("train_gpus", "train_nodes", "train_tolerations", "train_cpu", "train_memory", "work_cpu", "work_memory")


@click.group()
def cluster() -> None:
    """The installation that runs are sent to."""


@cluster.command("check")
@click.option("--namespace", envvar="KFP_NAMESPACE", default="kubeflow", show_default=True, help="Of the steps.")
@click.option("--kfp-namespace", default="kubeflow", show_default=True, help="Of Kubeflow Pipelines itself.")
@click.option(
    "--service-account",
    envvar="FLPRIVACY_SERVICE_ACCOUNT",
    default="flprivacy-steps",
    show_default=True,
    help="Of the steps.",
)
@click.option("--param", "values", multiple=True, metavar="NAME=VALUE", help="As you would give it to 'submit'.")
@click.option("--pod/--no-pod", default=True, show_default=True, help="Start a pod that tries image, store and MLflow.")
def check(namespace: str, kfp_namespace: str, service_account: str, values: tuple[str, ...], pod: bool) -> None:
    """Say whether this installation fits, before the first run: a line for each thing, with what to do.

    Kubernetes is asked with kubectl, as the user that it is set up for. Of Secrets only the keys are read. The pod is
    like those of the steps: it writes a small object to the store, reads it back and deletes it, and lists MLflow's
    experiments; then it is deleted.

    \b
    Examples:
      flprivacy cluster check
      flprivacy cluster check --param train_gpus=0 --param train_memory=8Gi
      flprivacy cluster check --namespace my-profile

    Exit codes: 0 everything that could be looked at fits, 2 something must be mended.
    """
    asked = _asked(namespace, kfp_namespace, service_account, values)
    lines = []
    for line in _lines(asked, pod=pod):
        click.echo(f"{_MARKS[line.state]} {line.subject}: {line.text}")
        lines.append(line)
    wrong = sum(line.state == "mend" for line in lines)
    unread = sum(line.state == "not read" for line in lines)
    more = f"; {unread} could not be looked at" if unread else ""
    if wrong:
        raise ConfigError(f"{wrong} of {len(lines)} must be mended (✗) before a run can succeed{more}")
    click.echo(f"the installation fits{more}")


@cluster.command("probe", hidden=True)
def probe_() -> None:
    """Print what a pod of the steps can reach, a JSON object a line; 'cluster check' runs it there."""
    from flprivacy.cluster.fit.probe import within

    for line in within():
        click.echo(json.dumps({"subject": line.subject, "state": line.state, "text": line.text}))


def _lines(asked: "Asked", *, pod: bool) -> "Iterator[Line]":
    from flprivacy.cluster.fit import installation, probe, room
    from flprivacy.cluster.fit.looked_at import look
    from flprivacy.cluster.kubectl import Kubectl

    kubectl = Kubectl()
    yield from look(installation.CHECKS | room.CHECKS, kubectl, asked)
    if pod:
        image = asked.images[0]
        yield from look({"pod": lambda kubernetes, asked: probe.probe(kubernetes, asked, image)}, kubectl, asked)


def _asked(namespace: str, kfp_namespace: str, account: str, values: tuple[str, ...]) -> "Asked":
    """Return what a study would ask for: the compiled pipeline's defaults, and what the user gave."""
    from flprivacy.cluster.fit.looked_at import Asked
    from flprivacy.launch.compiled import read_compiled
    from flprivacy.launch.parameters import RunOptions, parameters_of

    compiled = read_compiled("study")
    given = parameters_of(compiled, RunOptions(values=values))
    fields: dict[str, Any] = {name: given.get(name, compiled.parameters[name].default) for name in _ASKED}
    return Asked(namespace=namespace, kfp_namespace=kfp_namespace, account=account, images=compiled.images, **fields)
