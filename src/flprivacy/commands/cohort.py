"""``flprivacy cohort``: make, import, look at, check, export and publish cohorts."""

from pathlib import Path
from typing import Any

import click

from flprivacy.commands.console import console
from flprivacy.core.errors import ConfigError


@click.group()
def cohort() -> None:
    """Make, import, look at, check, export and publish cohorts."""


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
    from flprivacy.cohorts.phantom.generate import phantom_cohort
    from flprivacy.launch.arguments import overrides
    from flprivacy.launch.direct import drawing_here
    from flprivacy.presets import load_preset

    config = load_preset(preset, overrides(changes)).study.cohort
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


def _numbers(kind: type[int] | type[float], count: int, names: str) -> Any:
    """Return a click callback that reads numbers separated by commas."""

    def parse(ctx: click.Context, parameter: click.Parameter, text: str | None) -> tuple[Any, ...] | None:
        if text is None:
            return None
        try:
            values = tuple(kind(part) for part in text.split(","))
        except ValueError:
            values = ()
        if len(values) != count:
            raise ConfigError(f"{parameter.opts[0]} is {text!r}; give {names}, separated by commas")
        return values

    return parse


@cohort.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--from",
    "kind",
    required=True,
    type=click.Choice(["dicom", "nifti", "reference-pickles", "flprivacy"]),
    help="What SOURCE holds; flprivacy is another word for reference-pickles.",
)
@click.option(
    "--table",
    type=click.Path(path_type=Path),
    help="CSV or Parquet: site, sex, age_years, label, split of each series_uid, study_uid, patient_id or file.",
)
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    help="Secret file with the pseudonym key [default: FLPRIVACY_PSEUDONYM_KEY].",
)
@click.option("--name", help="Name of the cohort [default: the folder's].")
@click.option("--shape", metavar="D,H,W", callback=_numbers(int, 3, "depth, height, width"), help="Voxels of a volume.")
@click.option(
    "--spacing",
    metavar="D,H,W",
    callback=_numbers(float, 3, "depth, height, width in mm"),
    help="Size of a voxel in mm [default: the whole field of view over the shape].",
)
@click.option(
    "--window",
    metavar="LOW,HIGH",
    default="-1000,400",
    show_default=True,
    callback=_numbers(float, 2, "two intensities in HU"),
    help="Intensities in HU that become 0 and 255.",
)
@click.option("--site", default="", help="Site of all scans.")
@click.option("--site-tag", default="", metavar="KEYWORD", help="DICOM tag that tells sites apart, by pseudonym.")
@click.option("--classes", default="", metavar="A,B,...", help="Names of the classes, in order.")
@click.option("--label-tag", default="", metavar="KEYWORD", help="DICOM tag whose value is one of --classes.")
@click.option("--series", type=click.Choice(["most-slices", "all"]), default="most-slices", show_default=True)
@click.option("--min-slices", default=10, show_default=True, help="Leave out series with fewer slices.")
@click.option("--max-missing", default=0.0, show_default=True, help="Fraction of missing slices to interpolate.")
@click.option("--patients-per-site", is_flag=True, help="Patient ids are unique within a site only.")
@click.option("--test-fraction", default=0.2, show_default=True, help="Patients held out, where no table says it.")
@click.option("--seed", default=0, show_default=True, help="Draws them.")
@click.option("--report", type=click.Path(path_type=Path), help="File to write [default: FOLDER.import.json].")
def cohort_import(
    source: Path,
    folder: Path,
    kind: str,
    table: Path | None,
    key_file: Path | None,
    name: str | None,
    classes: str,
    report: Path | None,
    **settings: Any,
) -> None:
    """Import a cohort from DICOM series, NIfTI files or the reference study's pickles.

    Patient ids become keyed pseudonyms; no other identifier is kept. Interrupted and repeated, it carries on.

    \b
    Examples:
      flprivacy cohort import scans/ data/cohort --from dicom --table scans.csv --key-file ~/pseudonym.key
      flprivacy cohort import nifti/ data/cohort --from nifti --table scans.parquet --shape 24,256,256
      flprivacy cohort import data/ data/cohort --from reference-pickles --classes normal,covid,pneumonia
    """
    from flprivacy.cohorts.importing.build import import_cohort
    from flprivacy.cohorts.importing.config import ImportConfig
    from flprivacy.cohorts.importing.pseudonyms import Pseudonyms, read_key
    from flprivacy.cohorts.importing.report import import_tables
    from flprivacy.launch.direct import drawing_here

    if folder.exists():
        raise ConfigError(f"{folder}: exists already; give a new folder, or remove this one first")
    files = kind in ("reference-pickles", "flprivacy")
    shape = settings.pop("shape") or (None if files else (24, 256, 256))
    config = ImportConfig(
        name=name or folder.resolve().name,
        classes=tuple(part.strip() for part in classes.split(",") if part.strip()),
        shape=shape,
        spacing_mm=settings.pop("spacing"),
        window_hu=settings.pop("window"),
        **settings,
    )
    pseudonyms = None if files else Pseudonyms(read_key(key_file))
    with drawing_here(console()):
        made, told = import_cohort(
            kind, source, folder, config=config, pseudonyms=pseudonyms, table=table, report=report
        )
    for part in import_tables(told):
        console().print(part)
    click.echo(f"{folder}: {len(made.manifest)} scans, digest {made.meta.digest}")


@cohort.command("export")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--row", "rows", multiple=True, type=int, help="Row number of a scan; may repeat [default: all].")
def cohort_export(folder: Path, out: Path, rows: tuple[int, ...]) -> None:
    """Write a cohort's scans as NIfTI files with a table, to look at them.

    \b
    Example:
      flprivacy cohort export data/cohort nifti --row 0 --row 17
    """
    import numpy as np

    from flprivacy.cohorts.export import export_nifti
    from flprivacy.cohorts.format import open_cohort
    from flprivacy.launch.direct import drawing_here

    with drawing_here(console()):
        count = export_nifti(open_cohort(folder), out, rows=np.array(rows) if rows else None)
    click.echo(f"{out}: {count} scans as NIfTI, and scans.csv")


@cohort.command("push")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("uri")
def cohort_push(folder: Path, uri: str) -> None:
    """Publish a cohort where others can pull it: s3://, gs:// or a folder.

    Every volume is hashed first. What is published is whole or not there, and never changed afterwards; interrupted and
    repeated, it carries on.

    \b
    Example:
      flprivacy cohort push data/cohort s3://bucket/cohort
    """
    from flprivacy.cohorts.remote import push_cohort
    from flprivacy.launch.direct import drawing_here

    with drawing_here(console()):
        sent = push_cohort(folder=folder, uri=uri)
    click.echo(f"{uri}: published, {sent} bytes sent")
