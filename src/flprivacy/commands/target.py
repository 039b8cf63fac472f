"""``flprivacy target``: look at the models under investigation."""

import json
from pathlib import Path

import click


@click.group()
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
