"""``flprivacy run``, ``presets`` and ``report``: a pipeline on this machine, from its configuration to its page."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from flprivacy import __version__
from flprivacy.commands.options import PIPELINES, what
from flprivacy.core.extras import require_extras

if TYPE_CHECKING:
    from flprivacy.launch.parameters import RunOptions


@click.command()
@click.argument("pipeline", type=click.Choice(PIPELINES))
@what
def run(pipeline: str, asked: "RunOptions") -> None:
    """Run a pipeline on this machine, from its compiled file, and show what it found.

    Repeat the command to carry on after an interruption; what has not changed is not computed again.

    \b
    Examples:
      flprivacy run study
      flprivacy run study --preset my-study.yaml --set attack.fractions=[0.1]
      flprivacy run privacy_audit --cohort data/cohort --target a=models/a --target b=models/b
      flprivacy run privacy_audit --cohort s3://data/cohort --target mine=s3://models/mine.h5,shape=24x256x256
      flprivacy run re_audit --cohort data/cohort --targets-from s3://models/published
      flprivacy run train_generator --cohort data/cohort    synthetic scans, and whether they copy patients
      flprivacy run dp_check                     does private training keep its promise?
    """
    require_extras("cluster", "train", "tracking", "report")
    from flprivacy.launch.compiled import read_compiled
    from flprivacy.launch.local import run_local
    from flprivacy.launch.parameters import DEFAULT_PRESET, parameters_of
    from flprivacy.launch.progress import console
    from flprivacy.launch.results import show_run

    compiled = read_compiled(pipeline)
    parameters = parameters_of(compiled, asked)
    screen, preset = console(), asked.preset or DEFAULT_PRESET
    screen.print(f"[bold]flprivacy {__version__}[/bold] · pipeline {pipeline} · preset {preset}", highlight=False)
    result = run_local(compiled, parameters, screen)
    show_run(result, name=Path(preset).stem, screen=screen)
    if result.error is not None:
        raise result.error


@click.command()
@click.argument("name", required=False)
def presets(name: str | None) -> None:
    """List the presets, or print one in full, with defaults filled in.

    \b
    Example:
      flprivacy presets demo > my-study.yaml
    """
    import yaml

    from flprivacy.core.parsing import to_mapping
    from flprivacy.presets import load_preset, preset_names

    if name is None:
        click.echo("\n".join(preset_names()))
    else:
        preset = load_preset(name)
        whole = to_mapping(preset.study) | {"dp_check": to_mapping(preset.dp_check)}
        click.echo(yaml.safe_dump(whole, sort_keys=False), nl=False)


@click.command()
@click.argument("audit", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("report.html"), show_default=True, help="File to write."
)
def report(audit: Path, out: Path) -> None:
    """Render the HTML report of a finished audit again, and show its summary table.

    \b
    Example:
      flprivacy report .flprivacy/reports/demo/audit.json --out report.html
    """
    from flprivacy.core.audit import Audit
    from flprivacy.launch.progress import console
    from flprivacy.launch.results import show_audit
    from flprivacy.reporting.html import write_report

    found = Audit.read(audit)
    write_report(found, out)
    show_audit(found, console())
    click.echo(f"report: {out}")
