"""``flprivacy cohort``: make, look at and check cohorts."""

from pathlib import Path

import click

from flprivacy.commands.console import console
from flprivacy.core.errors import ConfigError


@click.group()
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
    with drawing_here(console()):
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

    console().print(cohort_table(open_cohort(folder)))


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

    with drawing_here(console()):
        checked = verify_cohort(folder)
    click.echo(f"{folder}: sound, {len(checked.manifest)} scans, digest {checked.meta.digest}")
