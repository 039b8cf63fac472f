"""``flprivacy run``: a pipeline on this machine."""

from pathlib import Path

import click

from flprivacy import __version__
from flprivacy.commands.console import console
from flprivacy.core.errors import ConfigError
from flprivacy.core.extras import require_extras


@click.command()
@click.argument("pipeline", type=click.Choice(["study", "privacy_audit", "re_audit", "dp_check"]))
@click.option("--preset", default="demo", show_default=True, help="Name of a preset, or path of a YAML file.")
@click.option(
    "--set", "changes", multiple=True, metavar="FIELD=VALUE", help="Replace a field of the preset; may repeat."
)
@click.option("--cohort", help="Folder of the cohort (privacy_audit, re_audit).")
@click.option(
    "--target", "targets", multiple=True, metavar="NAME=LOCATION", help="A model to audit (privacy_audit); may repeat."
)
@click.option(
    "--targets-from",
    multiple=True,
    metavar="LOCATION",
    help="Where models are published (re_audit): a folder or URI, of which the newest folder of each name counts, or a "
    "models:/ URI; may repeat.",
)
@click.option("--store", default="", help="Folder or URI of artifacts and checkpoints [default: .flprivacy/store].")
@click.option(
    "--fail-on-leak",
    is_flag=True,
    help="Exit with 2 if a target leaks more than the policy tolerates, or an epsilon is contradicted (dp_check).",
)
@click.option("--fail-on-worse", is_flag=True, help="Exit with 2 if a target changed for the worse (re_audit).")
def run(
    pipeline: str,
    preset: str,
    changes: tuple[str, ...],
    cohort: str | None,
    targets: tuple[str, ...],
    targets_from: tuple[str, ...],
    store: str,
    fail_on_leak: bool,
    fail_on_worse: bool,
) -> None:
    """Run a pipeline on this machine, from its compiled file, and show what it found.

    An interrupted run, repeated, carries on; what is unchanged is not made again.

    \b
    Examples:
      flprivacy run study
      flprivacy run study --preset my-study.yaml --set attack.fractions=[0.1]
      flprivacy run privacy_audit --cohort data/cohort --target a=models/a --target b=models/b
      flprivacy run privacy_audit --cohort s3://data/cohort --target mine=s3://models/mine.h5,shape=24x256x256
      flprivacy run re_audit --cohort data/cohort --targets-from s3://models/published
      flprivacy run dp_check                     does private training keep its promise?
    """
    require_extras("cluster", "train", "tracking", "report")
    from flprivacy.launch.arguments import audit_arguments, overrides, re_audit_arguments, study_arguments
    from flprivacy.launch.local import run_local
    from flprivacy.launch.show import show_check, show_re_audit, show_result

    screen = console()
    fields = overrides(changes)
    if pipeline != "re_audit" and (targets_from or fail_on_worse):
        raise ConfigError(f"--targets-from and --fail-on-worse belong to re_audit; leave them out of {pipeline}")
    if pipeline == "re_audit":
        arguments = re_audit_arguments(preset, fields, cohort, targets, targets_from)
        arguments["fail_on_worse"] = fail_on_worse
    elif pipeline != "privacy_audit":
        if cohort or targets:
            raise ConfigError(f"--cohort and --target belong to privacy_audit; {pipeline} makes its own")
        arguments = study_arguments(preset, fields)
    else:
        arguments = audit_arguments(preset, fields, cohort, targets)
    screen.print(f"[bold]flprivacy {__version__}[/bold] · pipeline {pipeline} · preset {preset}", highlight=False)
    result = run_local(pipeline, {**arguments, "store": store, "fail_on_leak": fail_on_leak}, screen)
    show = {"dp_check": show_check, "re_audit": show_re_audit}.get(pipeline, show_result)
    show(result, name=Path(preset).stem, console=screen)
    if result.error is not None:
        raise result.error
