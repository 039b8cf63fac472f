"""The command line: thin, and quick to answer; heavy libraries are imported inside the commands."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flprivacy import __version__
from flprivacy.core.errors import ConfigError, FlprivacyError

if TYPE_CHECKING:
    from rich.console import Console

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
_PLAIN_WIDTH = 120  # of a log or pipe, where there is no terminal to ask


class Commands(click.Group):
    """A group whose commands end in one line, not in a traceback, on an error that the user can mend."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; exit 2 on a mendable error, 130 on Ctrl-C."""
        try:
            return super().invoke(ctx)
        except FlprivacyError as error:
            click.echo(f"flprivacy: {error}", err=True)
            ctx.exit(EXIT_ERROR)
        except KeyboardInterrupt:
            click.echo("flprivacy: interrupted; the same command carries on from here", err=True)
            ctx.exit(EXIT_INTERRUPTED)


def _console() -> "Console":
    from rich.console import Console

    # The file is bound now: a pipeline's own output goes to its log while this console goes on drawing.
    console = Console(file=sys.stdout)
    return console if console.is_terminal else Console(file=sys.stdout, width=max(console.width, _PLAIN_WIDTH))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="flprivacy")
def main() -> None:
    """Measure what 3D chest-CT models give away about the people they were trained on.

    \b
    Examples:
      flprivacy run study                        the whole demo, end to end
      flprivacy run study --set cohort.scans=800 --set attack.seeds=[0,1,2,3,4,5,6]
      flprivacy run privacy_audit --cohort data/cohort --target central=models/central
      flprivacy cohort verify data/cohort
      flprivacy ui                               MLflow on what was run

    Exit codes: 0 done, 2 something that you can mend (one line says what), 130 interrupted, 1 a defect of ours.
    """


@main.command()
@click.argument("pipeline", type=click.Choice(["study", "privacy_audit"]))
@click.option("--preset", default="demo", show_default=True, help="Name of a preset, or path of a YAML file.")
@click.option(
    "--set", "changes", multiple=True, metavar="FIELD=VALUE", help="Replace a field of the preset; may repeat."
)
@click.option("--cohort", help="Folder of the cohort (privacy_audit).")
@click.option(
    "--target", "targets", multiple=True, metavar="NAME=FOLDER", help="A model to audit (privacy_audit); may repeat."
)
@click.option("--store", default="", help="Folder of finished artifacts and checkpoints [default: .flprivacy/store].")
@click.option("--fail-on-leak", is_flag=True, help="Exit with 2 if a target leaks more than the policy tolerates.")
def run(
    pipeline: str,
    preset: str,
    changes: tuple[str, ...],
    cohort: str | None,
    targets: tuple[str, ...],
    store: str,
    fail_on_leak: bool,
) -> None:
    """Run a pipeline on this machine, from its compiled file, and show what it found.

    An interrupted run, repeated, carries on; what is unchanged is not made again.

    \b
    Examples:
      flprivacy run study
      flprivacy run study --preset my-study.yaml --set attack.fractions=[0.1]
      flprivacy run privacy_audit --cohort data/cohort --target a=models/a --target b=models/b
    """
    from flprivacy.launch.arguments import audit_arguments, overrides, study_arguments
    from flprivacy.launch.local import run_local
    from flprivacy.launch.show import show_result

    console = _console()
    fields = overrides(changes)
    if pipeline == "study":
        if cohort or targets:
            raise ConfigError("--cohort and --target belong to privacy_audit; study makes its own")
        arguments = study_arguments(preset, fields)
    else:
        arguments = audit_arguments(preset, fields, cohort, targets)
    console.print(f"[bold]flprivacy {__version__}[/bold] · pipeline {pipeline} · preset {preset}", highlight=False)
    result = run_local(pipeline, {**arguments, "store": store, "fail_on_leak": fail_on_leak}, console)
    show_result(result, name=Path(preset).stem, console=console)


@main.group()
def cohort() -> None:
    """Make, look at and check cohorts."""


@cohort.command("make")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--preset", default="demo", show_default=True, help="Name of a preset, or path of a YAML file.")
@click.option(
    "--set", "changes", multiple=True, metavar="FIELD=VALUE", help="Replace a field, such as cohort.scans=400."
)
def cohort_make(folder: Path, preset: str, changes: tuple[str, ...]) -> None:
    """Generate a phantom cohort.

    \b
    Example:
      flprivacy cohort make data/phantom --set cohort.scans=400 --set cohort.signature_strength=0
    """
    from flprivacy.cohorts.phantom import phantom_cohort
    from flprivacy.launch.arguments import overrides
    from flprivacy.launch.direct import drawing_here
    from flprivacy.presets import load_study

    config = load_study(preset, overrides(changes)).cohort
    if config is None:
        raise ConfigError(f"preset {preset!r} has no cohort section; add one or choose another preset")
    if folder.exists():
        raise ConfigError(f"{folder}: exists already; give a new folder, or remove this one first")
    with drawing_here(_console()):
        made = phantom_cohort(config, folder)
    click.echo(f"{folder}: {len(made.manifest)} scans, digest {made.meta.digest}")


@cohort.command("show")
@click.argument("folder", type=click.Path(path_type=Path))
def cohort_show(folder: Path) -> None:
    """Show a cohort's sites, splits and attributes.

    \b
    Example:
      flprivacy cohort show data/phantom
    """
    from flprivacy.cohorts.format import open_cohort
    from flprivacy.launch.show import cohort_table

    _console().print(cohort_table(open_cohort(folder)))


@cohort.command("verify")
@click.argument("folder", type=click.Path(path_type=Path))
def cohort_verify(folder: Path) -> None:
    """Check a cohort to the last byte: manifest, digest, patient splits and every volume's hash.

    \b
    Example:
      flprivacy cohort verify data/phantom
    """
    from flprivacy.cohorts.format import verify_cohort
    from flprivacy.launch.direct import drawing_here

    with drawing_here(_console()):
        checked = verify_cohort(folder)
    click.echo(f"{folder}: sound, {len(checked.manifest)} scans, digest {checked.meta.digest}")


@main.group()
def target() -> None:
    """Look at targets: the models under investigation."""


@target.command("show")
@click.argument("folder", type=click.Path(path_type=Path))
def target_show(folder: Path) -> None:
    """Check a target's weights and show its lineage and utility.

    \b
    Example:
      flprivacy target show models/central
    """
    from flprivacy.core.parsing import to_mapping
    from flprivacy.models.target_folder import read_target

    record = to_mapping(read_target(folder))
    click.echo(json.dumps(record, indent=2, sort_keys=True))


@main.command()
@click.argument("audit", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("report.html"), show_default=True, help="File to write."
)
def report(audit: Path, out: Path) -> None:
    """Write the HTML report of a finished audit again, and show its table.

    \b
    Example:
      flprivacy report .flprivacy/reports/demo/audit.json --out report.html
    """
    from flprivacy.core.audit import Audit
    from flprivacy.launch.show import show_audit
    from flprivacy.reporting.html import write_report

    found = Audit.read(audit)
    write_report(found, out)
    show_audit(found, _console())
    click.echo(f"report: {out}")


@main.group()
def mlflow() -> None:
    """File audits in MLflow."""


@mlflow.command("sync")
@click.option("--audit", required=True, type=click.Path(path_type=Path), help="Folder of audit.json.")
@click.option("--report", required=True, type=click.Path(path_type=Path), help="Folder of report.html and its figures.")
def mlflow_sync(audit: Path, report: Path) -> None:
    """Log an audit that could not be logged when it was made. Logging it twice does no harm.

    \b
    Example:
      flprivacy mlflow sync --audit .flprivacy/reports/demo --report .flprivacy/reports/demo
    """
    from flprivacy.launch.direct import drawing_here
    from flprivacy.launch.local import default_tracking
    from flprivacy.steps.log_mlflow import sync

    default_tracking()
    with drawing_here(_console()):
        logged = sync(audit=audit, report=report)
    word = "already logged" if logged.found else "logged"
    click.echo(
        f"{word} as run {logged.name} ({logged.run_id}) of experiment {logged.experiment} at {logged.tracking_uri}"
    )


@main.command()
@click.option("--port", default=5000, show_default=True, help="Port on this machine.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
def ui(port: int, host: str) -> None:
    """Open the MLflow UI on what was run here.

    \b
    Example:
      flprivacy ui --port 5001
    """
    from flprivacy.launch.local import serve_ui

    raise SystemExit(serve_ui(host, port))


@main.command()
@click.argument("name", required=False)
def presets(name: str | None) -> None:
    """List the presets, or print one in full, defaults filled in.

    \b
    Example:
      flprivacy presets demo > my-study.yaml
    """
    import yaml

    from flprivacy.core.parsing import to_mapping
    from flprivacy.presets import load_study, preset_names

    if name is None:
        click.echo("\n".join(preset_names()))
    else:
        click.echo(yaml.safe_dump(to_mapping(load_study(name)), sort_keys=False), nl=False)


if __name__ == "__main__":
    main()
