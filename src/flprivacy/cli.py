"""The command line: thin, and quick to start; the commands are in :mod:`flprivacy.commands`."""

from typing import Any

import click

from flprivacy import __version__
from flprivacy.commands.cluster import cluster
from flprivacy.commands.cohort import cohort
from flprivacy.commands.mlflow import mlflow, ui
from flprivacy.commands.run import presets, report, run
from flprivacy.commands.runs import runs
from flprivacy.commands.schedule import schedule
from flprivacy.commands.submit import submit
from flprivacy.commands.target import target
from flprivacy.core.errors import EXIT_INTERRUPTED, FlprivacyError
from flprivacy.core.extras import naming_extras


class Commands(click.Group):
    """A group whose commands end in one line, not in a traceback, on an error that the user can fix."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; exit with the code of an error that the user can fix, or with 130 on Ctrl-C."""
        try:
            with naming_extras():
                return super().invoke(ctx)
        except FlprivacyError as error:
            click.echo(f"flprivacy: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("flprivacy: interrupted; repeat the command to carry on from here", err=True)
            ctx.exit(EXIT_INTERRUPTED)


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
      flprivacy ui                               the MLflow UI on your runs
      flprivacy cluster check                    whether a cluster fits, before the first run there
      flprivacy submit study --host URL          the same on a cluster, with Kubeflow Pipelines
      flprivacy runs list                        what ran there, and how it ended
      flprivacy schedule list                    what runs there on a schedule

    Exit codes: 0 success, 1 a bug in flprivacy, 2 an error that you can fix (one line says how), a target that could
    not be audited among them, 3 a run on a cluster failed, 4 a result that --fail-on-leak or --fail-on-worse does not
    tolerate, 130 interrupted.
    """


for command in (run, cluster, submit, runs, schedule, cohort, target, report, mlflow, ui, presets):
    main.add_command(command)


if __name__ == "__main__":
    main()
